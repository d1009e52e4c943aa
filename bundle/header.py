"""Reads a picture's size from its header, without decoding it.

A file of 100 KB can expand to gigabytes. These are the sizes that OpenCV's decoders allocate
memory for, read from the same bytes of the file.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional

# More segments than this before the pixels of a JPEG are an attack: an ICC profile has up to 255.
_MAX_SEGMENTS = 4096
# Encoders write chunks of 8 KB or more.
_MAX_CHUNKS = 1 << 20
# JPEG markers, without the 0xFF that precedes them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # start of frame: it has the size
_SEQUENTIAL = frozenset({0xC0, 0xC1, 0xC9})
_BARE = frozenset(range(0xD0, 0xD8)) | {0x01}  # markers that no length follows
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA


class Header(NamedTuple):
    """What the header of a picture says.

    Args:
        format: `JPEG`, `PNG`, `BMP` or `WebP`.
        width: Pixels in a row, before the EXIF orientation is applied.
        height: Rows.
        scan: The offset of the first start-of-scan marker of a JPEG; 0 for other formats.
        sequential: Whether it is a JPEG that is not progressive.
    """

    format: str
    width: int
    height: int
    scan: int = 0
    sequential: bool = False


class HeaderError(Exception):
    """The header is damaged or truncated. The message is the end of a sentence."""


def read_header(data: bytes) -> Optional[Header]:
    """Reads the header of a JPEG, PNG, BMP or WebP file.

    Args:
        data: The content of the file.

    Returns:
        The header, or None if the file has another format.

    Raises:
        HeaderError: The header is damaged or truncated.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _png(data)
        if data.startswith(b"BM"):
            return _bmp(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError):
        raise HeaderError("is truncated: it ends within its header") from None
    return None


def _jpeg(data: bytes) -> Header:
    """Follows the segments as libjpeg does, up to the first scan.

    A thumbnail in a segment is a JPEG with a size and markers of its own, so segments must be
    skipped by their lengths. Bytes between segments are ignored, as in libjpeg.
    """
    frame = None
    position = 2
    for _ in range(_MAX_SEGMENTS):
        position = data.find(b"\xff", position)
        if position < 0:
            raise IndexError
        while data[position] == 0xFF:
            position += 1
        marker = data[position]
        position += 1
        if marker == 0 or marker in _BARE:
            continue
        if marker in (_START, _END):
            raise HeaderError("is damaged: its JPEG header has a marker where none is allowed")
        if marker == _SCAN:
            if frame is None:
                raise HeaderError("is damaged: its JPEG header has no size")
            return frame._replace(scan=position - 2)
        (length,) = struct.unpack_from(">H", data, position)
        if length < 2:
            raise HeaderError("is damaged: its JPEG header has a segment without a length")
        if marker in _FRAMES and frame is None:
            height, width = struct.unpack_from(">HH", data, position + 3)
            frame = Header("JPEG", width, height, sequential=marker in _SEQUENTIAL)
        position += length
    raise HeaderError("is damaged: its JPEG header has more than 4096 segments")


def _png(data: bytes) -> Header:
    """Also checks the chunks' lengths: OpenCV 5 allocates whatever a length announces."""
    length, kind, width, height = struct.unpack_from(">I4sII", data, 8)
    if length != 13 or kind != b"IHDR":
        raise HeaderError("is damaged: its PNG header has no size")
    position = 8
    for _ in range(_MAX_CHUNKS):
        length, kind = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if position > len(data):
            raise HeaderError("is truncated: a PNG chunk is longer than the file")
        if kind == b"IEND":
            return Header("PNG", width, height)
    raise HeaderError("is damaged: it has more than 2^20 PNG chunks")


def _bmp(data: bytes) -> Header:
    (length,) = struct.unpack_from("<I", data, 14)
    # The first version has unsigned 16 bits; a negative height means that the top row is first.
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, 18)
    return Header("BMP", width, abs(height))


def _webp(data: bytes) -> Header:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(_slice(data, at, 3), "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 ":
        width, height = (edge & 0x3FFF for edge in struct.unpack_from("<HH", data, 26))
    else:
        raise HeaderError("is damaged: its WebP header has no size")
    return Header("WebP", width, height)


def _slice(data: bytes, start: int, length: int) -> bytes:
    if len(data) < start + length:
        raise IndexError
    return data[start : start + length]
