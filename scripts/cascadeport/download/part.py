"""The part of a file that has arrived. It outlives the run, so that the next one can resume."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import TracebackType

from cascadeport.download.source import Source

_BLOCK = 1 << 20


class Part:
    """What has arrived of a file, beside its destination as `NAME.part`, with its running digest.

    Args:
        destination: The path of the complete file.

    Attributes:
        size: Bytes that have arrived.
        pieces: How many responses they came in.
    """

    def __init__(self, destination: Path) -> None:
        self._destination = destination
        self._path = destination.with_name(destination.name + ".part")
        self._file = self._path.open("a+b")
        self._digest = hashlib.sha256()
        self.size = 0
        self._file.seek(0)
        while block := self._file.read(_BLOCK):
            self._digest.update(block)
            self.size += len(block)
        self.pieces = 1 if self.size else 0

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if not self.size:
            self._path.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """The digest of what has arrived."""
        return self._digest.hexdigest()

    def matches(self, source: Source) -> bool:
        """Whether the file is complete. The digest decides, not announced lengths."""
        return self.size > 0 and source.matches(self.sha256)

    def append(self, block: bytes) -> None:
        """Adds bytes at the end."""
        self._file.write(block)
        self._digest.update(block)
        self.size += len(block)

    def restart(self) -> None:
        """Discards what has arrived."""
        self._file.truncate(0)
        self._digest = hashlib.sha256()
        self.size = 0
        self.pieces = 0

    def head(self) -> bytes:
        """The first bytes."""
        self._file.flush()
        with self._path.open("rb") as file:
            return file.read(64)

    def finish(self) -> None:
        """Gives the file its name, once its digest is verified and it is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._path.replace(self._destination)
