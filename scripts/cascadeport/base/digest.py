"""Digests: of files by content, of values by their canonical JSON."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def of_file(path: Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def of_bytes(content: bytes) -> str:
    """The sha256 of bytes, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def of_unchanged_file(path: Path) -> str:
    """The sha256 of a file's content, computed again only if the file has changed meanwhile.

    Raises:
        OSError: It cannot be read.
    """
    facts = path.stat()
    return _of_version(path, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


@functools.lru_cache(maxsize=256)
def _of_version(path: Path, *version: int) -> str:
    return of_file(path)


def of_value(value: Any) -> str:
    """The sha256 of a JSON value in canonical form, so that equal values have equal digests."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # File names that are no UTF-8 have lone surrogates in them, which plain UTF-8 cannot say.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def of_sources(folder: Path, pattern: str = "**/*.py") -> str:
    """The digest of a folder of source files: their relative names and contents."""
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    return of_value([[path.relative_to(folder).as_posix(), of_file(path)] for path in files])
