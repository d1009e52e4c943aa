"""Decodes pictures with OpenCV, and notices when its JPEG decoder complains.

If pixel data of a JPEG are damaged or missing, libjpeg makes up the rest of the picture and prints
a warning to standard error. OpenCV neither stops nor passes the warning on, and its Python
interface has no way to ask for it.

But libjpeg prints in the thread that decodes, and Linux counts the write calls of each thread. So a
thread whose count has changed while it decoded has printed something. This needs no lock and no
redirection, works for several threads at once, and the text still reaches the log at once.
Where there is no such count, the decoder's standard error is captured, for one thread at a time.

Some warnings are harmless. If there was one, the picture is decoded again without the usual
harmless deviations from the standard; if that is silent and the pixels are the same, it is good.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from typing import Iterator, Optional, Tuple

import cv2
import numpy as np

from bundle.header import Header

# 16 bits per channel are not reduced to 8, so that they are noticed. Pictures of 8 bits are decoded
# as by IMREAD_COLOR, which applies the EXIF orientation.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
_COUNTERS = "/proc/thread-self/io"
_WRITES = re.compile(rb"^syscw: (\d+)$", re.MULTILINE)
# What libjpeg's warnings have in common: in captured text, there may also be other threads' lines.
_WARNING = re.compile(rb"JPEG|JFIF|Adobe|progression sequence")
_capturing = threading.Lock()


class DamagedError(Exception):
    """The decoder could not decode all of the picture, and made up the rest."""


def decode(data: bytes, header: Header) -> Optional[np.ndarray]:
    """Decodes a picture. Threads may decode at the same time.

    Args:
        data: The content of the file.
        header: Its header.

    Returns:
        (height, width, 3) BGR, uint8 or whatever type the file has, rotated according to its EXIF
        orientation; None if OpenCV cannot decode it.

    Raises:
        DamagedError: Pixel data of a JPEG are damaged or missing.
        MemoryError: The pixels do not fit into memory.
    """
    if header.format != "JPEG":
        return _imdecode(data)
    image, warned = _decode_and_watch(data)
    if warned and image is not None and not _is_harmless(data, header, image):
        raise DamagedError
    return image


def _imdecode(data: bytes) -> Optional[np.ndarray]:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as failure:
        if failure.code == cv2.Error.STS_NO_MEM:
            raise MemoryError from None
        return None


def _decode_and_watch(data: bytes) -> Tuple[Optional[np.ndarray], bool]:
    """Decodes a picture; also returns whether anything was printed meanwhile."""
    before = _count_writes()
    if before is None:
        return _decode_and_capture(data)
    image = _imdecode(data)
    return image, _count_writes() != before


def _count_writes() -> Optional[int]:
    """How often this thread has called write(2), or None if that is not known."""
    try:
        file = os.open(_COUNTERS, os.O_RDONLY)
    except OSError:
        return None
    try:
        found = _WRITES.search(os.read(file, 4096))
    finally:
        os.close(file)
    return int(found.group(1)) if found else None


def _decode_and_capture(data: bytes) -> Tuple[Optional[np.ndarray], bool]:
    """The same as `_decode_and_watch`, by capturing what the process prints meanwhile."""
    with _capturing, tempfile.TemporaryFile() as captured:
        sys.stderr.flush()
        original = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            image = _imdecode(data)
        finally:
            os.dup2(original, 2)
            os.close(original)
        captured.seek(0)
        text = captured.read()
        if text:
            os.write(2, text)
    return image, _WARNING.search(text) is not None


def _is_harmless(data: bytes, header: Header, image: np.ndarray) -> bool:
    """Whether the picture is complete, although the decoder has warned."""
    for tidied in _tidied(data, header):
        again, warned = _decode_and_watch(tidied)
        if not warned and again is not None and np.array_equal(again, image):
            return True
    return False


def _tidied(data: bytes, header: Header) -> Iterator[bytes]:
    """Copies of a JPEG without deviations from the standard that are common and harmless.

    These are an unknown version of JFIF, meaningless parameters in the scans of a sequential JPEG,
    and filler, bytes of one value, between the pixel data and the end marker. Two copies differ in
    whether the last of these bytes belongs to the pixel data. libjpeg only prints its first
    warning, so these would hide others.
    """
    copy = bytearray(data)
    if copy[6:11] == b"JFIF\0" and copy[2:4] == b"\xff\xe0":
        copy[11] = 1
    scan = header.scan
    end = copy.find(b"\xff\xd9", header.scan)
    while header.sequential and 0 <= scan < end - 4:
        # 0xFF 0xDA, length (2 bytes), number of components, 2 bytes for each, the parameters.
        parameters = scan + 5 + 2 * copy[scan + 4]
        copy[parameters : parameters + 3] = b"\x00\x3f\x00"
        scan = copy.find(b"\xff\xda", parameters, end)
    pixel_data = bytes(copy[:end])
    filler = pixel_data[-1:]
    stripped = pixel_data.rstrip(filler)
    yield stripped + filler + b"\xff\xd9"
    yield stripped + b"\xff\xd9"
