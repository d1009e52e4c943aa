"""A wheelhouse: the packages of the images' locks, fetched once, for builds without an index.

make wheels TARGET=310P3        (python -m cascadeport.engines.wheels 310P3)
WHEELS=build/wheels make all TARGET=310P3
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cascadeport import targets
from cascadeport.errors import CascadeportError
from cascadeport.options import REPOSITORY, Options

FOLDER = REPOSITORY / "build" / "wheels"
# Each folder's lock and the Python of the image that installs it.
LOCKS = {
    "cpu": ("images/cpu/requirements.lock", "3.11"),
    "t4": ("images/t4/requirements.lock", "3.12"),
    "ascend": ("images/ascend/locks/convert-requirements.lock", "3.9"),
    "simulator": ("images/simulator/requirements.lock", "3.9"),
}
# pip matches these exactly: a wheel for an older C library carries an older name.
_GLIBC = ("_2_28", "_2_27", "_2_17", "2014", "_2_12", "2010", "1")


def selection(python: str) -> list[str]:
    """Arguments that make pip choose wheels for an image's Python instead of this one's."""
    machine = platform.machine()
    found = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    for version in _GLIBC:
        found += ["--platform", f"manylinux{version}_{machine}"]
    return found


def folders(image: str) -> tuple[str, ...]:
    """The folders of the wheelhouse that a target's image is built from."""
    return ("ascend", "simulator") if image.startswith("ascend") else (image,)


def fetch(name: str, folder: Path) -> None:
    """Fetches the wheels of one lock, checked against its hashes."""
    lock, python = LOCKS[name]
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes", *selection(python)]
    command += ["-r", str(REPOSITORY / lock), "-d", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CascadeportError(
            f"The wheels of {lock} could not be fetched.",
            where=" | ".join(done.stderr.strip().splitlines()[-3:]),
            next="See whether the package index can be reached from here.",
        )


def main(names: Sequence[str]) -> int:
    """Fetches the wheels of targets, all of them by default."""
    known = targets.load(Options().targets)
    wanted = [targets.find(name, known) for name in names] or list(known.values())
    try:
        for folder in sorted({each for target in wanted for each in folders(target.image)}):
            fetch(folder, FOLDER / folder)
            print(f"{FOLDER / folder}: {len(list((FOLDER / folder).glob('*.whl')))} wheels")
    except CascadeportError as error:
        print(f"cascadeport: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
