"""A wheelhouse: the packages of the images' locks, downloaded once, for builds without an index.

cascadeport wheels --target 310P3
WHEELS=build/wheels cascadeport all --target 310P3
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from cascadeport.base import locks as base_locks
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import IMAGES, REPOSITORY
from cascadeport.config.schema import Strict, as_tuple, read_toml, validate

FOLDER = REPOSITORY / "build" / "wheels"
# The C library of the first wheels that name it (2.5 was CentOS 5's): its minor number.
_OLDEST = 5
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]


class ImageFacts(Strict):
    """images/NAME/image.toml: what is known of an image before it is built.

    Args:
        python: The version of its Python, whose wheels its locks name.
        disk_gb: Gigabytes of the engine's disk that building it takes.
        locks: Its lock files, from its folder.
        glibc: The version of its C library, which wheels name the oldest of that they run on.
        also: Other folders of images/ whose wheels a run may need.
        more_pythons: Further versions of Python whose wheels are needed.
    """

    python: str
    disk_gb: float
    locks: Names
    glibc: str = "2.28"
    also: Names = ()
    more_pythons: Names = ()


def facts(image: str) -> ImageFacts:
    """Reads what is known of an image."""
    path = IMAGES / image / "image.toml"
    return validate(ImageFacts, read_toml(path, "image"), where=str(path), what="image")


def folders(image: str) -> tuple[str, ...]:
    """The folders of the wheelhouse that a target's image is built from."""
    return (image, *facts(image).also)


def locks(image: str) -> list[Path]:
    """An image's lock files."""
    return [(IMAGES / image / lock).resolve() for lock in facts(image).locks]


def pinned(image: str) -> dict[str, str]:
    """The packages that an image's locks name for its Python, with their versions."""
    python = facts(image).python
    return {
        name: at for lock in locks(image) for name, at in base_locks.pinned(lock, python).items()
    }


def selection(python: str, machine: str, glibc: str = "2.28") -> list[str]:
    """Arguments that make pip choose wheels for an image's Python instead of this one's.

    Args:
        python: Its version.
        machine: Its architecture.
        glibc: The version of its C library.
    """
    found = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    # pip matches these exactly: a wheel for an older C library carries an older name.
    newest = int(glibc.split(".")[1])
    tags = [f"_2_{minor}" for minor in range(newest, _OLDEST - 1, -1)]
    for version in (*tags, "2014", "2010", "1"):
        found += ["--platform", f"manylinux{version}_{machine}"]
    return found


def download(image: str, folder: Path, machine: str) -> None:
    """Downloads the wheels of an image's locks for an architecture, verified by their hashes.

    Raises:
        CascadeportError: pip could not download them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = facts(image)
    pairs = [(lock, py) for py in (known.python, *known.more_pythons) for lock in locks(image)]
    for lock, python in pairs:
        with tempfile.NamedTemporaryFile("w", suffix=".lock", encoding="utf-8") as file:
            file.write(base_locks.selected(lock, python))
            file.flush()
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--require-hashes"]
            command += [
                *selection(python, machine, known.glibc),
                "-r",
                file.name,
                "-d",
                str(folder),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CascadeportError(
                f"The wheels of {lock.relative_to(REPOSITORY)} could not be downloaded.",
                where=" | ".join(done.stderr.strip().splitlines()[-3:]),
                next="Check whether the package index can be reached from here.",
            )
