"""What is to be downloaded, and how it is recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from cascadeport.base.errors import CascadeportError

_HTTP = ("http", "https")
_SHORTEST_PREFIX = 8


@dataclass(frozen=True)
class Source:
    """A file that is published at one or more addresses.

    Args:
        name: What progress and errors call it.
        addresses: http, https and file addresses or absolute paths, in the order of trying.
        sha256: Its digest, or the beginning of it (at least 8 digits): many checkpoints carry
            that in their names.
        size: The size in bytes, if it is known.

    Raises:
        CascadeportError: There is no digest, or no address.
    """

    name: str
    addresses: tuple[str, ...]
    sha256: str
    size: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(rf"[0-9a-f]{{{_SHORTEST_PREFIX},64}}", self.sha256):
            # A checkpoint is a pickle: whoever can change it can run code here.
            raise CascadeportError(
                "This file has no digest; it is not downloaded unverified.",
                where=self.name,
                next="Write its sha256, or at least the first 8 digits of it, beside its address.",
            )
        if not self.addresses:
            raise CascadeportError(
                "There is no address to download this from.",
                where=self.name,
                next="Give one or more addresses.",
            )
        for address in self.addresses:
            if is_remote(address):
                continue
            if local_path(address) is None:
                raise CascadeportError(
                    f"'{address}' is not an address to download from.",
                    where=self.name,
                    next="Give https://, http:// or file:// addresses, or absolute paths.",
                )

    def matches(self, sha256: str) -> bool:
        """Whether a digest is that of the file."""
        return sha256.startswith(self.sha256)


@dataclass(frozen=True)
class Downloaded:
    """A verified file.

    Args:
        path: Its path.
        sha256: Its full digest.
        size: Its size in bytes.
        address: Where it came from; empty if it existed already.
    """

    path: Path
    sha256: str
    size: int
    address: str = ""


def is_remote(address: str) -> bool:
    """Whether an address needs the network."""
    parts = _split(address)
    return parts is not None and parts.scheme in _HTTP and bool(parts.hostname)


def local_path(address: str) -> Path | None:
    """The path that a file address or an absolute path means, else None."""
    parts = _split(address)
    if parts is None or "\0" in address:
        return None
    if parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path:
        return Path(unquote(parts.path))
    return Path(address) if address.startswith("/") else None


def _split(address: str) -> SplitResult | None:
    """The parts of an address; None: it is malformed, e.g. `https://[::1`."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # a port is parsed only when it is read
    except ValueError:
        return None
    return parts
