"""Pictures that are read as OpenCV reads them, and pictures that are not taken."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bundle.errors import PictureError
from bundle.job import Picture
from bundle.picture import read_picture


def noise(width: int, height: int) -> np.ndarray:
    return np.random.RandomState(3).randint(0, 256, (height, width, 3), np.uint8)


def encoded(suffix: str, image: np.ndarray) -> bytes:
    done, data = cv2.imencode(suffix, image)
    assert done
    return data.tobytes()


def jpeg(image: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", **options)
    return stream.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(Image.fromarray(noise(40, 24)), exif=exif)


def with_thumbnail(end: int | None) -> bytes:
    """A JPEG whose header contains a complete JPEG, with an end marker of its own."""
    thumbnail = encoded(".jpg", noise(8, 8))
    outer = encoded(".jpg", noise(64, 48))
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    return (outer[:2] + segment + outer[2:])[:end]


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than it holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", content)
        + chunk(b"IEND", b"")
    )


GOOD = {
    "jpeg": (encoded(".jpg", noise(40, 24)), (40, 24)),
    "progressive": (jpeg(Image.fromarray(noise(40, 24)), progressive=True), (40, 24)),
    "grey": (encoded(".jpg", noise(40, 24)[:, :, 0]), (40, 24)),
    "cmyk": (jpeg(Image.fromarray(noise(40, 24)).convert("CMYK")), (40, 24)),
    "garbage after the end": (encoded(".jpg", noise(40, 24)) + b"\0" * 999, (40, 24)),
    "thumbnail": (with_thumbnail(None), (64, 48)),
    "exif 3": (turned(3), (40, 24)),
    "exif 6": (turned(6), (24, 40)),
    "png": (encoded(".png", noise(40, 24)), (40, 24)),
    "png with alpha": (
        encoded(".png", np.dstack([noise(40, 24), noise(40, 24)[:, :, 0]])),
        (40, 24),
    ),
    "bmp": (encoded(".bmp", noise(40, 24)), (40, 24)),
    "1x1": (encoded(".png", noise(1, 1)), (1, 1)),
    "30000 wide": (encoded(".png", noise(30000, 2)), (30000, 2)),
}


@pytest.mark.parametrize("name", GOOD)
def test_pixels_are_those_of_imread(tmp_path: Path, name: str) -> None:
    data, (width, height) = GOOD[name]
    path = tmp_path / "picture ünd more.jpg"  # the content decides, not the name
    path.write_bytes(data)
    image = read_picture(str(path), Picture(1, path.name, width, height))
    assert image.dtype == np.uint8
    assert np.array_equal(image, cv2.imread(str(path)))


WHOLE = encoded(".jpg", noise(40, 24))
BAD = {
    "empty": (b"", "is empty: 0 bytes"),
    "text": (b"this is no picture", "cannot decode"),
    "half a jpeg": (WHOLE[: len(WHOLE) // 2], "is truncated"),
    "a jpeg without its last bytes": (WHOLE[:-2], "is truncated"),
    "a jpeg's head": (WHOLE[:30], "is truncated"),
    "a jpeg cut after its thumbnail": (with_thumbnail(-50), "is truncated"),
    "a jpeg cut inside its thumbnail": (with_thumbnail(200), "is truncated"),
    "half a png": (encoded(".png", noise(40, 24))[:900], "cannot decode"),
    "half a bmp": (encoded(".bmp", noise(40, 24))[:900], "cannot decode"),
    "16 bits": (encoded(".png", noise(40, 24).astype(np.uint16) * 257), "16 bits per channel"),
    "too many pixels": (bomb(40000, 40000), "more pixels than OpenCV decodes"),
    "too wide": (bomb(2_000_000, 1), "2^20 pixels"),
    "another size": (encoded(".png", noise(41, 24)), "41x24 pixels, but 40x24 according"),
    "turned": (encoded(".png", noise(24, 40)), "EXIF orientation"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_named(tmp_path: Path, name: str) -> None:
    data, message = BAD[name]
    path = tmp_path / "bad.jpg"
    path.write_bytes(data)
    with pytest.raises(PictureError) as caught:
        read_picture(str(path), Picture(1, path.name, 40, 24))
    assert message in caught.value.what
    assert caught.value.where == str(path)
    assert caught.value.next


def test_a_missing_picture_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="is missing"):
        read_picture(str(tmp_path / "absent.jpg"), Picture(1, "absent.jpg", 1, 1))
    with pytest.raises(PictureError, match="cannot be read: Is a directory"):
        read_picture(str(tmp_path), Picture(1, "", 1, 1))
