"""Files written atomically, and what a disk refuses, as sentences."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascadeport.base.errors import CascadeportError


def write_text(path: Path, text: str) -> None:
    """Writes a file atomically: into a temporary file beside it, which is then renamed."""
    # A file name that is no UTF-8 has lone surrogates in it; as escapes JSON can say them too.
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically: into a temporary file beside it, which is then renamed."""
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any, indent: int = 1) -> None:
    """Writes a JSON file atomically; equal values give equal bytes."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


_DISK_ERRORS = {
    errno.ENOSPC: ("There is no space left.", "Free some space, then run the same command again."),
    errno.EDQUOT: ("The disk quota is used up.", "Free some space, then run again."),
    errno.EROFS: (
        "The file system is read-only.",
        "Give another folder with --results or --build.",
    ),
    errno.EACCES: (
        "Writing is not permitted.",
        "Make the folder writable, or give another one with --results or --build.",
    ),
    errno.ENOTDIR: ("A file is in the way of a folder.", "Move it away."),
    errno.EEXIST: ("A file is in the way of a folder.", "Move it away."),
    errno.EISDIR: ("A folder is in the way of a file.", "Move it away."),
    errno.ENAMETOOLONG: ("A file name is too long for this file system.", "Use shorter names."),
    errno.ELOOP: ("A symbolic link leads to itself.", "Remove it."),
    errno.EIO: ("The disk reports an input/output error.", "See the kernel's log (dmesg)."),
    errno.EPERM: ("Writing is not permitted.", "Make the folder writable, or give another one."),
}


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turns what the disk refuses into a sentence. Finished stages are untouched."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        what, remedy = _DISK_ERRORS[error.errno]
        raise CascadeportError(
            what, where=str(error.filename or path), next=remedy + " Finished stages are kept."
        ) from error
