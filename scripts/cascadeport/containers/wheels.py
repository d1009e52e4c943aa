"""A wheelhouse: the packages of the images' locks, downloaded once, for builds without an index.

cascadeport wheels --target 310P3
WHEELS=build/wheels cascadeport all --target 310P3
"""

from __future__ import annotations

import platform
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
# pip matches these exactly: a wheel for an older C library carries an older name.
_GLIBC = ("_2_28", "_2_27", "_2_17", "2014", "_2_12", "2010", "1")
Names = Annotated[tuple[str, ...], BeforeValidator(as_tuple)]


class ImageFacts(Strict):
    """images/NAME/image.toml: what is known of an image before it is built.

    Args:
        python: The version of its Python, whose wheels its locks name.
        disk_gb: Gigabytes of the engine's disk that building it takes.
        locks: Its lock files, from its folder.
        also: Other folders of images/ whose wheels a run may need.
    """

    python: str
    disk_gb: float
    locks: Names
    also: Names = ()


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


def selection(python: str) -> list[str]:
    """Arguments that make pip choose wheels for an image's Python instead of this one's."""
    machine = platform.machine()
    found = ["--only-binary=:all:", "--python-version", python, "--implementation", "cp"]
    for version in _GLIBC:
        found += ["--platform", f"manylinux{version}_{machine}"]
    return found


def download(image: str, folder: Path) -> None:
    """Downloads the wheels of an image's locks, verified by their hashes.

    Raises:
        CascadeportError: pip could not download them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    python = facts(image).python
    for lock in locks(image):
        with tempfile.NamedTemporaryFile("w", suffix=".lock", encoding="utf-8") as file:
            file.write(base_locks.selected(lock, python))
            file.flush()
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--disable-pip-version-check", "--require-hashes"]
            command += [*selection(python), "-r", file.name, "-d", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CascadeportError(
                f"The wheels of {lock.relative_to(REPOSITORY)} could not be downloaded.",
                where=" | ".join(done.stderr.strip().splitlines()[-3:]),
                next="Check whether the package index can be reached from here.",
            )
