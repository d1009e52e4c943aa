"""Reads pictures: from a file to pixels, or to the reason why it cannot be used."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from bundle.errors import PictureError
from bundle.job import Picture

# 16 bits per channel are not reduced to 8, so that they are noticed. Pictures of 8 bits are decoded
# as by IMREAD_COLOR, which applies the EXIF orientation.
_FLAGS = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
_NEXT = "Replace the file, or run with --keep-going to skip and list such pictures."


class SkippedPicture(NamedTuple):
    """A picture that cannot be used, and the reason."""

    picture: Picture
    reason: str


def read_picture(path: str, picture: Picture) -> np.ndarray:
    """Reads and decodes a picture. The pixels are those of `cv2.imread`.

    Returns:
        (height, width, 3) uint8, BGR, rotated according to its EXIF orientation.

    Raises:
        PictureError: The file is missing, empty, truncated, not a picture, not of 8 bits per
            channel, or not of the size in its annotations.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read()
    except FileNotFoundError:
        raise PictureError("The picture is missing.", path, _NEXT) from None
    except OSError as failure:
        reason = failure.strerror or str(failure)
        raise PictureError("The picture cannot be read: {}.".format(reason), path, _NEXT) from None
    image = decode(data, path)
    _check_size(image, picture, path)
    return image


def decode(data: bytes, path: str) -> np.ndarray:
    """Decodes the content of a picture file.

    Args:
        data: The content.
        path: The file, for error messages.

    Returns:
        (height, width, 3) uint8, BGR, rotated according to its EXIF orientation.

    Raises:
        PictureError: The content is empty, truncated, not a picture, or not of 8 bits per channel.
    """
    if not data:
        raise PictureError("The picture is empty: 0 bytes.", path, _NEXT)
    if _is_truncated_jpeg(data):
        raise PictureError(
            "The picture is truncated: a JPEG of {} bytes without an end marker.".format(len(data)),
            path,
            _NEXT,
        )
    image = _decode(data, path)
    if image.dtype != np.uint8:
        raise PictureError(
            "The picture has {} bits per channel, not 8.".format(image.dtype.itemsize * 8),
            path,
            "Convert it to 8 bits yourself, or run with --keep-going to skip it.",
        )
    return image


def _decode(data: bytes, path: str) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), _FLAGS)
    except cv2.error as failure:
        if "CV_IO_MAX_IMAGE" in str(failure):
            raise PictureError(
                "The picture has more pixels than OpenCV decodes (2^30, or 2^20 in a row).",
                path,
                "Scale it down, or run with --keep-going to skip and list such pictures.",
            ) from None
        image = None
    except MemoryError:
        raise PictureError("Out of memory while decoding the picture.", path, _NEXT) from None
    if image is None:
        raise PictureError(
            "OpenCV cannot decode the picture: it is damaged, truncated, has more than 2^20 pixels "
            "in a row, or is not a picture.",
            path,
            _NEXT,
        )
    return image


def _check_size(image: np.ndarray, picture: Picture, path: str) -> None:
    height, width = image.shape[:2]
    if (width, height) == (picture.width, picture.height):
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


def _is_truncated_jpeg(data: bytes) -> bool:
    """Whether this is a JPEG without an end-of-image marker after its first scan.

    libjpeg fills what is missing with grey and OpenCV 4 says nothing. The header's segments are
    stepped over by their lengths, because a thumbnail in them has an end of its own; what comes
    after the end (some cameras append more) does not matter.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return False
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0xDA:  # start of scan
            return data.find(b"\xff\xd9", at) < 0
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at + 4 > len(data)
