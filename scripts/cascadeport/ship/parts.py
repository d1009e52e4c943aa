"""One stream in several files: compressed, cut into parts of a size, and joined again."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal

import zstandard

Compression = Literal["zstd", "gzip"]
# One setting for ever: with the library that the lock pins, equal content gives equal bytes.
# Level 6 of zstd makes the demo's archive 6 % larger than level 12 does, in a tenth of the time.
_LEVEL, _WORKERS = 6, 2
_GZIP_LEVEL = 6
_BLOCK = 1 << 20


class Parts(io.RawIOBase):
    """Writes a stream into files of at most a given size: `NAME.000`, `NAME.001`, …

    Args:
        path: Where the files go, without their numbers.
        size: The most bytes that a file may have; None: one file holds all.
    """

    def __init__(self, path: Path, size: int | None) -> None:
        self._path, self._size = path, size
        self._file: IO[bytes] | None = None
        self._left = 0
        self.paths: list[Path] = []

    def writable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def write(self, block: Any) -> int:
        """See io.RawIOBase."""
        view = memoryview(block).cast("B")
        done = 0
        while done < len(view):
            if self._file is None or (self._size is not None and self._left == 0):
                self._next()
            assert self._file is not None
            take = len(view) - done
            if self._size is not None:
                take = min(take, self._left)
                self._left -= take
            self._file.write(view[done : done + take])
            done += take
        return done

    def _next(self) -> None:
        if self._file is not None:
            self._file.close()
        self.paths.append(self._path.with_name(f"{self._path.name}.{len(self.paths):03}"))
        self._file = self.paths[-1].open("wb")
        self._left = self._size or 0

    def close(self) -> None:
        """See io.RawIOBase."""
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()


class Hashed(io.RawIOBase):
    """Passes a stream on, and knows its digest and size."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._sha = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        """See io.RawIOBase."""
        return True

    def write(self, block: Any) -> int:
        """See io.RawIOBase."""
        self._sha.update(block)
        self.size += len(block)
        self._out.write(block)
        return len(block)

    @property
    def digest(self) -> str:
        """The sha256 of all of it, in hexadecimal."""
        return self._sha.hexdigest()


@contextlib.contextmanager
def compressing(out: IO[bytes], how: Compression) -> Iterator[IO[bytes]]:
    """A stream whose content is written to `out` compressed; equal content gives equal bytes."""
    if how == "gzip":
        with gzip.GzipFile("", "wb", _GZIP_LEVEL, out, mtime=0) as packed:
            yield packed  # type: ignore[misc]
        return
    compressor = zstandard.ZstdCompressor(level=_LEVEL, threads=_WORKERS)
    with compressor.stream_writer(out, closefd=False) as writer:
        yield writer


@contextlib.contextmanager
def joined(paths: Sequence[Path], how: Compression) -> Iterator[IO[bytes]]:
    """The content of parts, decompressed."""
    with contextlib.closing(_Joined(paths)) as source:
        buffered = io.BufferedReader(source, _BLOCK)
        if how == "gzip":
            with gzip.open(buffered) as plain:
                yield plain  # type: ignore[misc]
            return
        # The library ends quietly where a frame is cut off; engines and zstd do not.
        reader = zstandard.ZstdDecompressor().stream_reader(buffered)
        yield io.BufferedReader(reader, _BLOCK)


class _Joined(io.RawIOBase):
    def __init__(self, paths: Sequence[Path]) -> None:
        self._left = list(paths)
        self._file: IO[bytes] | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                if not self._left:
                    return 0
                self._file = self._left.pop(0).open("rb")
            count = self._file.readinto(buffer)  # type: ignore[attr-defined]
            if count:
                return int(count)
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        super().close()
