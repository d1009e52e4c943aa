"""Verifies a file against what its source says of it."""

from __future__ import annotations

from pathlib import Path

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.download.source import Downloaded, Source


def check(path: Path, source: Source) -> Downloaded:
    """Verifies a file that the user already has.

    Raises:
        CascadeportError: It does not exist, or it is not the file that the source describes.
    """
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise CascadeportError(
                f"The file for {source.name} {what}.", where=str(path), next="Check the path."
            )
        size = path.stat().st_size
        sha256 = digest.of_file(path)
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise CascadeportError(
            f"The file for {source.name} cannot be read: {error.strerror}.",
            where=str(path),
            next="Check its permissions.",
        ) from error
    if source.matches(sha256):
        return Downloaded(path, sha256, size)
    raise CascadeportError(
        f"The file is not {source.name}: {mismatch(source, size, sha256, head)}.",
        where=str(path),
        next="Download it again, or correct the digest if another file is meant.",
    )


def mismatch(source: Source, size: int, sha256: str, head: bytes) -> str:
    """Says in what a file differs from what was expected, and what it seems to be instead.

    Args:
        source: What was expected.
        size: The file's size in bytes.
        sha256: Its digest.
        head: Its first bytes.
    """
    expected = source.sha256 if len(source.sha256) == 64 else source.sha256 + "..."
    text = f"its sha256 is {sha256}, expected is {expected}"
    if source.size is not None and size != source.size:
        text += f", and it has {size:,} bytes instead of {source.size:,}"
    return text + _seems(head)


def _seems(head: bytes) -> str:
    start = head.lstrip()[:16].lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "; it is a web page, such as the login page of a proxy"
    if head.startswith(b"version https://git-lfs"):
        return "; it is a pointer of Git LFS, not the file itself"
    if not head:
        return "; it is empty"
    return ""
