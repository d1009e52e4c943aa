"""What is to be fetched, and what the right bytes are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cascadeport.base.errors import CascadeportError

_HTTP = ("http", "https")
_SHORTEST_PREFIX = 8


@dataclass(frozen=True)
class Source:
    """A file that may be had from several places.

    Args:
        name: What progress and errors call it.
        addresses: http, https and file addresses or absolute paths, in the order of trying.
        sha256: The digest of the right bytes, or its beginning (at least 8 digits): many
            checkpoints carry that in their names.
        size: The size in bytes, if it is known.

    Raises:
        CascadeportError: Nothing says what the right bytes are, or there is no address.
    """

    name: str
    addresses: tuple[str, ...]
    sha256: str
    size: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_PREFIX},64}}", self.sha256):
            # A checkpoint is a pickle: whoever can change it can run code here.
            raise CascadeportError(
                "Nothing says what the right bytes of this file are; it is not fetched unchecked.",
                where=self.name,
                next="Write its sha256, or at least the first 8 digits of it, beside its address.",
            )
        if not self.addresses:
            raise CascadeportError("There is no address to fetch this from.", where=self.name)
        for address in self.addresses:
            if is_remote(address):
                continue
            if local_path(address) is None:
                raise CascadeportError(
                    f"'{address}' is no address that can be fetched from.",
                    where=self.name,
                    next="Give https://, http:// or file:// addresses, or absolute paths.",
                )

    def matches(self, sha256: str) -> bool:
        """Whether a digest is that of the right bytes."""
        return sha256.startswith(self.sha256)


@dataclass(frozen=True)
class Fetched:
    """A file whose bytes are right.

    Args:
        path: Where it stands.
        sha256: Its whole digest.
        size: Its size in bytes.
        address: Where it came from; empty if it was here already.
    """

    path: Path
    sha256: str
    size: int
    address: str = ""


def is_remote(address: str) -> bool:
    """Whether an address needs the network."""
    parts = urlsplit(address)
    return parts.scheme in _HTTP and bool(parts.netloc)


def local_path(address: str) -> Path | None:
    """The path that a file address or an absolute path means, else None."""
    parts = urlsplit(address)
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return Path(unquote(parts.path))
    return Path(address) if address.startswith("/") else None
