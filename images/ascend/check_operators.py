"""Looks into CANN's operator information for what a graph needs, says what is missing; runs atc.

    check_operators.py --soc=Ascend310P3 --need=NODE:OPERATOR,OPERATOR ... -- atc ...

For each kind of node, one of its operators should be listed for the chip. atc finds out after
minutes, and says it of a single node; but it has the last word, so it runs in any case. The lists
are files named aic-CHIP-ops-info.json below opp, in built-in/op_impl/ai_core/tbe/config/CHIP
(canndev, load_op_info_store) or, in older releases, op_impl/built-in/ai_core/tbe/config/CHIP
(Ascend/ascend-docker-image at 3b95fce6, ascend-toolkit), and in vendors/ for operators that
somebody added; operators that run on the chip's processor are in aicpu_kernel.json. All are JSON
objects by the operators' names.
"""

import glob
import json
import os
import re
import sys

ASCEND = "/usr/local/Ascend"


def chip_of(soc):
    """The chip as CANN's files name it: ascend310p for Ascend310P3, ascend310 for Ascend310."""
    match = re.match(r"(ascend\d+[a-z]*)", soc.lower())
    return match.group(1) if match else soc.lower()


def listed(chip):
    """The operators with a kernel for a chip, and the files that list them."""
    home = os.environ.get("ASCEND_OPP_PATH") or ASCEND + "/ascend-toolkit/latest/opp"
    names, files = set(), []
    for pattern in ("aic-{}-ops-info*.json".format(chip), "aicpu_kernel*.json"):
        for path in sorted(glob.glob("{}/**/{}".format(home, pattern), recursive=True)):
            try:
                with open(path, encoding="utf-8") as file:
                    names.update(json.load(file))
            except (OSError, ValueError, TypeError):
                continue
            if chip in os.path.basename(path):
                files.append(path)
    return names, files


def note(text, *values):
    print(json.dumps({"event": "note", "text": text.format(*values)}), flush=True)


def main(arguments):
    end = arguments.index("--")
    command = arguments[end + 1 :]
    soc, needs = "", []
    for argument in arguments[:end]:
        key, _, value = argument.partition("=")
        if key == "--soc":
            soc = value
        elif key == "--need":
            node, _, operators = value.partition(":")
            needs.append((node, operators.split(",")))
    names, files = listed(chip_of(soc))
    if needs and not files:
        note(
            "no operator information for {} below opp: what the graph needs was not looked up",
            chip_of(soc),
        )
    missing = [(node, ways) for node, ways in needs if files and not names.intersection(ways)]
    if missing:
        wanted = ["{} ({})".format(node, " or ".join(ways)) for node, ways in missing]
        note(
            "this CANN lists no kernel on {} for {} ({}). The lowering `ascend-standard` needs "
            "none of CANN's own operators: LOWERING=ascend-standard (--lowering ascend-standard)",
            soc,
            ", ".join(wanted),
            ", ".join(files),
        )
    os.execvp(command[0], command)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
