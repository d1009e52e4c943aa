"""The lines of all shards in the order of the job, as they are, byte for byte."""

from __future__ import annotations

import json
import os
from collections import deque
from typing import BinaryIO, Deque, Dict, List, NamedTuple, Optional, Sequence, Set

from bundle.errors import BundleError
from bundle.files import write_errors
from bundle.job import Picture
from bundle.picture import DIGESTS
from bundle.sharded.record import DETECTIONS, GEOMETRY, ShardRecord

_PART = ".part"
# Read at a time of each file. No file stays open: there may be more shards than a process may open.
_CHUNK_BYTES = 1 << 16


class _Line(NamedTuple):
    """A line of a file, without its end, and the picture that it is about."""

    text: bytes
    picture: int


class _Lines:
    """The lines of a file that are about pictures. `key` names the picture's id in them."""

    def __init__(self, path: str, key: str) -> None:
        self._path = path
        self._key = key
        self._offset = 0
        self._rest = b""
        self._lines: Deque[bytes] = deque()
        self._next: Optional[_Line] = None
        self._advance()

    def take(self, picture: int) -> List[bytes]:
        """The next lines, as far as they are about this picture."""
        found = []
        while self._next is not None and self._next.picture == picture:
            found.append(self._next.text)
            self._advance()
        return found

    def check_end(self) -> None:
        """Nothing may be left.

        Raises:
            BundleError: Lines are left.
        """
        if self._next is not None:
            raise _wrong(
                "has a picture that is not its own, or has it twice: id {}".format(
                    self._next.picture
                ),
                self._path,
            )

    def _advance(self) -> None:
        line = self._read()
        while line in (b"[", b"]"):
            line = self._read()
        if line is None:
            self._next = None
            return
        line = line[:-1] if line.endswith(b",") else line
        try:
            self._next = _Line(line, int(json.loads(line)[self._key]))
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _wrong("is not what a pass writes", self._path) from None

    def _read(self) -> Optional[bytes]:
        while not self._lines:
            try:
                with open(self._path, "rb") as stream:
                    stream.seek(self._offset)
                    chunk = stream.read(_CHUNK_BYTES)
            except OSError as failure:
                raise _wrong(
                    "cannot be read: {}".format(failure.strerror or failure), self._path
                ) from None
            if not chunk:
                rest, self._rest = self._rest, b""
                return rest or None
            self._offset += len(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            self._lines.extend(lines)
        return self._lines.popleft()


class _Shard:
    """The three files of a shard, read side by side."""

    def __init__(self, record: ShardRecord) -> None:
        folder = record.folder
        self._name = str(record.shard)
        self._folder = folder
        self._skipped: Set[int] = {one["id"] for one in record.run["skipped"]}
        self._files = {
            name: _Lines(os.path.join(folder, name), key)
            for name, key in ((DETECTIONS, "image_id"), (GEOMETRY, "id"), (DIGESTS, "id"))
        }

    def take(self, picture: Picture) -> Dict[str, List[bytes]]:
        """The lines of the next picture of this shard, by file.

        Raises:
            BundleError: It has not exactly one result.
        """
        found = {name: lines.take(picture.id) for name, lines in self._files.items()}
        wanted = 0 if picture.id in self._skipped else 1
        counts = len(found[GEOMETRY]), len(found[DIGESTS])
        if counts != (wanted, wanted) or (found[DETECTIONS] and not wanted):
            text = "is missing" if not any(counts) else "is there twice, or was skipped as well"
            raise BundleError(
                "Shard {}: picture {} {}.".format(self._name, picture.file, text),
                self._folder,
                "Remove the folder and run the shard again.",
            )
        return found

    def check_end(self) -> None:
        """Every line must have been taken."""
        for lines in self._files.values():
            lines.check_end()


def write_rows(records: Sequence[ShardRecord], pictures: Sequence[Picture], out: str) -> None:
    """Writes what one run would have: detections, geometry and digests of all pictures.

    Args:
        records: Every shard, in order.
        pictures: The job's, in order.
        out: The folder for the three files.

    Raises:
        BundleError: A picture is missing or there twice, or a file cannot be read or written.
    """
    shards = [_Shard(record) for record in records]
    paths = {name: os.path.join(out, name) for name in (DETECTIONS, GEOMETRY, DIGESTS)}
    streams: Dict[str, BinaryIO] = {}
    try:
        for name, path in paths.items():
            with write_errors(path):
                streams[name] = open(path + _PART, "wb")  # noqa: SIM115
        _write(shards, pictures, streams, out)
    finally:
        for name, stream in streams.items():
            with write_errors(paths[name]):
                stream.close()
    for path in paths.values():
        with write_errors(path):
            os.replace(path + _PART, path)


def _write(
    shards: Sequence[_Shard], pictures: Sequence[Picture], streams: Dict[str, BinaryIO], out: str
) -> None:
    separator = b"[\n"
    with write_errors(out):
        for number, picture in enumerate(pictures):
            found = shards[number % len(shards)].take(picture)
            for row in found[DETECTIONS]:
                streams[DETECTIONS].write(separator + row)
                separator = b",\n"
            for name in (GEOMETRY, DIGESTS):
                streams[name].writelines(line + b"\n" for line in found[name])
        # As bundle/files.py writes an array, with and without rows.
        streams[DETECTIONS].write(b"[\n]\n" if separator == b"[\n" else b"\n]\n")
    for shard in shards:
        shard.check_end()


def _wrong(what: str, path: str) -> BundleError:
    return BundleError(
        "A file of a shard {}.".format(what), path, "Remove the folder and run the shard again."
    )
