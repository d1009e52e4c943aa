"""Compares the host's driver with the requirements of this image's CANN.

CANN's version.info files name the oldest supported versions of the driver's parts
(`required_driver_ascendhal_version=4.0.0`); the driver's version.info names its versions
(`ascendhal_version=…`). An older driver would fail much later, with error 507033.
"""

import glob
import json
import re
import sys

ASCEND = "/usr/local/Ascend"
DRIVER = ASCEND + "/driver/version.info"
REQUIRED = re.compile(r"required_driver_(\w+)_version$")


def read(path):
    with open(path, encoding="utf-8", errors="replace") as lines:
        return dict(line.strip().split("=", 1) for line in lines if "=" in line)


def numbers(version):
    return [int(part) for part in re.findall(r"\d+", version)]


def note(text, *values):
    print(json.dumps({"event": "note", "text": text.format(*values)}), flush=True)


def fail(what, where):
    print(
        json.dumps(
            {
                "event": "error",
                "what": what,
                "where": where,
                "next": "Install the driver and firmware that match this CANN release on the "
                "host; `cascadeport doctor` shows both versions.",
            }
        ),
        flush=True,
    )
    sys.exit(2)


def main():
    try:
        driver = read(DRIVER)
    except OSError as error:
        fail("The host's driver is not in the container: {}.".format(error.strerror), DRIVER)
    for path in sorted(glob.glob(ASCEND + "/*/latest/**/version.info", recursive=True)):
        try:
            requirements = read(path)
        except OSError as error:
            # Some installers make it 0440; the driver is checked as far as the others say.
            text = "{} cannot be read ({}): what it requires of the driver was not compared."
            note(text, path, error.strerror)
            continue
        for key, wanted in sorted(requirements.items()):
            match = REQUIRED.match(key)
            if match is None:
                continue
            have = driver.get(match.group(1) + "_version")
            if have is not None and numbers(have) < numbers(wanted):
                fail(
                    "The host's driver {} is older than CANN requires.".format(
                        driver.get("Version", "")
                    ),
                    "{}_version is {}, {} requires {}".format(match.group(1), have, path, wanted),
                )


if __name__ == "__main__":
    main()
