"""Reads pictures: from a file to pixels, or to the reason why it cannot be used."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bundle import decoder
from bundle.errors import PictureError
from bundle.header import Header, HeaderError, read_header
from bundle.job import Picture

# 400 MB of decoded pixels. OpenCV would take eight times as many.
_MAX_PIXELS = 1 << 27
# OpenCV's own limit for a row or column.
_MAX_EDGE = 1 << 20
# An uncompressed picture of the largest size, with a fourth channel.
_MAX_BYTES = 4 * _MAX_PIXELS
_ADVICE = "Replace the file, or run with --keep-going to skip and list such pictures."
# The file that says which bytes were evaluated.
DIGESTS = "pictures.jsonl"


class SkippedPicture(NamedTuple):
    """A picture that cannot be used, and the reason; the digest of its file, if it can be read."""

    picture: Picture
    reason: str
    sha256: str = ""


def read_picture(path: str, picture: Picture) -> np.ndarray:
    """Reads and decodes a picture: `read_bytes`, then `decode`.

    Returns:
        (height, width, 3) uint8, BGR, rotated according to its EXIF orientation.

    Raises:
        PictureError: It cannot be used.
    """
    return decode(read_bytes(path), picture, path)


def read_bytes(path: str) -> bytes:
    """Reads a picture's file.

    Raises:
        PictureError: It is missing, empty, not a regular file or too large, or cannot be read.
    """
    try:
        status = os.stat(path)
        # Opening a named pipe would block, and a device could be read for ever.
        if not stat.S_ISREG(status.st_mode):
            raise PictureError("The picture is not a regular file.", path, _ADVICE)
        if status.st_size > _MAX_BYTES:
            raise PictureError(
                "The picture is too large: {} bytes.".format(status.st_size), path, _ADVICE
            )
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        raise PictureError("The picture is missing.", path, _ADVICE) from None
    except (OSError, ValueError) as failure:  # ValueError: the name contains a null character
        reason = getattr(failure, "strerror", None) or failure
        raise PictureError(
            "The picture cannot be read: {}.".format(reason), path, _ADVICE
        ) from None
    if not data:
        raise PictureError("The picture is empty: 0 bytes.", path, _ADVICE)
    return data


def digest(data: bytes) -> str:
    """The sha256 of a picture's file, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_line(picture: Picture, sha256: str) -> str:
    """A line of pictures.jsonl: the file that was read, and the sha256 of what was read from it.

    With it, the orchestrator can verify that the results are those of the data set's pictures.
    """
    return json.dumps({"id": picture.id, "file": picture.file, "sha256": sha256}) + "\n"


def decode(data: bytes, picture: Picture, path: str) -> np.ndarray:
    """Decodes the content of a picture's file. Its pixels are those of `cv2.imread`.

    Args:
        data: The content.
        picture: The picture, with the size that it must have; 0x0 if it may have any.
        path: The file, for error messages.

    Returns:
        (height, width, 3) uint8, BGR, rotated according to its EXIF orientation.

    Raises:
        PictureError: The content is truncated, damaged, not a picture, too large, not of 8 bits per
            channel, or not of the size in its annotations.
    """
    header = _read_header(data, path)
    # First the header's size, so that no memory is wasted on a picture that will be refused.
    if (header.height, header.width) != (picture.width, picture.height):
        _check_size(header.width, header.height, picture, path)
    _check_limits(header, path)
    if header.format == "JPEG" and data.rfind(b"\xff\xd9", header.scan) < 0:
        raise _truncated_jpeg(data, path)
    image = _decode(data, header, path)
    if image.dtype != np.uint8:
        raise PictureError(
            "The picture has {} bits per channel, not 8.".format(image.dtype.itemsize * 8),
            path,
            "Convert it to 8 bits yourself, or run with --keep-going to skip it.",
        )
    # Then that of the pixels: an EXIF orientation may have rotated them.
    _check_size(image.shape[1], image.shape[0], picture, path)
    return image


def _read_header(data: bytes, path: str) -> Header:
    try:
        header = read_header(data)
    except HeaderError as failure:
        raise PictureError("The picture {}.".format(failure), path, _ADVICE) from None
    if header is None:
        raise PictureError(
            "The picture is not a JPEG, PNG, BMP or WebP file.",
            path,
            "Convert it to one of these, or run with --keep-going to skip it.",
        )
    return header


def _check_limits(header: Header, path: str) -> None:
    width, height = header.width, header.height
    if width * height > _MAX_PIXELS or max(width, height) > _MAX_EDGE:
        raise PictureError(
            "The picture has {}x{} pixels. At most 2^27 are decoded, and 2^20 in a row or "
            "column.".format(width, height),
            path,
            "Scale it down, or run with --keep-going to skip and list such pictures.",
        )


def _truncated_jpeg(data: bytes, path: str) -> PictureError:
    return PictureError(
        "The picture is truncated: a JPEG of {} bytes without an end marker.".format(len(data)),
        path,
        _ADVICE,
    )


def _decode(data: bytes, header: Header, path: str) -> np.ndarray:
    try:
        image = decoder.decode(data, header)
    except decoder.DamagedError:
        raise PictureError(
            "The picture is damaged: its JPEG decoder warns about missing or wrong pixel data.",
            path,
            "The warning itself is in the log. Replace the file (if it looks right, jpegtran can "
            "rewrite it), or run with --keep-going to skip and list such pictures.",
        ) from None
    except MemoryError:
        raise PictureError(
            "There is not enough memory to decode the picture: it has {}x{} pixels.".format(
                header.width, header.height
            ),
            path,
            _ADVICE,
        ) from None
    if image is None:
        raise PictureError(
            "The picture is damaged or truncated: OpenCV cannot decode this {} file.".format(
                header.format
            ),
            path,
            _ADVICE,
        )
    return image


def sized(picture: Picture, image: np.ndarray) -> Picture:
    """The picture with the size of its pixels, if it had none."""
    if picture.width:
        return picture
    return replace(picture, width=image.shape[1], height=image.shape[0])


def _check_size(width: int, height: int, picture: Picture, path: str) -> None:
    if picture.width == 0 or (width, height) == (picture.width, picture.height):
        return
    rotated = (height, width) == (picture.width, picture.height)
    hint = " Its EXIF orientation is not that of the annotations." if rotated else ""
    raise PictureError(
        "The picture has {}x{} pixels, but {}x{} according to its annotations.{}".format(
            width, height, picture.width, picture.height, hint
        ),
        path,
        "Its boxes could not be compared with the ground truth: correct annotations or file, "
        "or run with --keep-going to skip it.",
    )
