"""Reads files that come from elsewhere: regular files of a limited size, every failure a sentence.

A path in a card may name a device that never ends or a pipe that nobody writes to, and a JSON file
may be nested a million times.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from cascadeport.base.errors import CascadeportError

RECORD_LIMIT = 256 << 20
"""Bytes that a record of this program may have, e.g. result.json with its curves."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class MissingFileError(CascadeportError):
    """There is no file of that path."""


def read_bytes(path: Path, what: str, *, limit: int, next: str = "") -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        what: What it is to the user, for errors: "model card".
        limit: The most bytes that it may have.
        next: What to do when it cannot be read.

    Raises:
        CascadeportError: It is no regular file, larger than the limit, or cannot be read. A file
            that does not exist is a `MissingFileError`.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode):
            kind = _KINDS.get(stat.S_IFMT(facts.st_mode), "something else")
            raise CascadeportError(
                f"The {what} is {kind}, not a file.",
                where=str(path),
                next=next or "Give the path of a file.",
            )
        if facts.st_size > limit:
            raise _too_large(path, what, limit)
        with path.open("rb") as file:
            # Files of /proc have no size beforehand, and a log may grow meanwhile.
            content = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError(
            f"The {what} does not exist.",
            where=str(path),
            next=next or "Check the path or the name.",
        ) from error
    except OSError as error:
        raise CascadeportError(
            f"The {what} cannot be read: {error.strerror}.", where=str(path), next=next
        ) from error
    except ValueError as error:
        # A path with a zero byte, or with characters that the file system's encoding lacks.
        raise CascadeportError(
            f"The path of the {what} is not valid: {error}.", where=str(path), next=next
        ) from error
    if len(content) > limit:
        raise _too_large(path, what, limit)
    return content


def _too_large(path: Path, what: str, limit: int) -> CascadeportError:
    size = f"{limit >> 20:,} MiB" if limit >= 1 << 20 else f"{limit:,} bytes"
    return CascadeportError(
        f"The {what} is larger than {size}, the most that is read.",
        where=str(path),
        next="Is it the right file?",
    )


def read_record(path: Path, what: str, *, next: str = "") -> dict[str, Any]:
    """A JSON object that this program or the bundle wrote.

    Raises:
        CascadeportError: It cannot be read, or it is no JSON object.
    """
    content = read_bytes(path, what, limit=RECORD_LIMIT, next=next)
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse)
    except RecursionError as error:
        raise CascadeportError(
            f"The {what} is nested too deeply.", where=str(path), next=next
        ) from error
    except ValueError as error:
        raise CascadeportError(
            f"The {what} is not valid JSON: {error}.", where=str(path), next=next
        ) from error
    if not isinstance(value, dict):
        raise CascadeportError(f"The {what} is not a JSON object.", where=str(path), next=next)
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"it holds {constant}, which JSON does not have")


def user_path(text: str, what: str) -> Path:
    """A path that the user gave, `~` expanded.

    Raises:
        CascadeportError: It holds a zero byte, or `~NAME` names nobody.
    """
    if "\0" in text:
        raise CascadeportError(
            f"The path of the {what} holds a zero byte.", where=text, next="Check the path."
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise CascadeportError(
            f"The path of the {what} begins with the home folder of an unknown user.",
            where=text,
            next="Write the path in full.",
        ) from error


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False also for a path that there cannot be."""
    # Unlike Path.is_file, this does not raise where a name is too long.
    return os.path.isfile(path)  # noqa: PTH113


def is_dir(path: Path) -> bool:
    """Whether there is a folder; False also for a path that there cannot be."""
    return os.path.isdir(path)  # noqa: PTH112
