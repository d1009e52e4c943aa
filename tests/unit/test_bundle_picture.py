"""Pictures that are read as OpenCV reads them, and pictures that are not taken."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bundle.errors import PictureError
from bundle.job import Picture
from bundle.picture import decode, read_bytes, read_picture


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


def changed(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 0x7F]) + data[position + 1 :]


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
    "webp": (encoded(".webp", noise(40, 24)), (40, 24)),
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


COMPLETE = encoded(".jpg", noise(40, 24))
BAD = {
    "empty": (b"", "is empty: 0 bytes"),
    "text": (b"this is no picture", "is not a JPEG, PNG, BMP or WebP file"),
    "tiff": (encoded(".tiff", noise(40, 24)), "is not a JPEG, PNG, BMP or WebP file"),
    "half a jpeg": (COMPLETE[: len(COMPLETE) // 2], "is truncated"),
    "a jpeg without its last bytes": (COMPLETE[:-2], "is truncated"),
    "a jpeg's head": (COMPLETE[:30], "is truncated"),
    "a jpeg without most of its pixels": (COMPLETE[:700] + COMPLETE[-2:], "is damaged"),
    "a jpeg cut inside its thumbnail": (with_thumbnail(200), "is truncated"),
    "half a png": (encoded(".png", noise(40, 24))[:900], "is truncated: a PNG chunk"),
    "a png with a wrong byte": (changed(encoded(".png", noise(40, 24)), 900), "decode this PNG"),
    "a png with a long chunk": (changed(encoded(".png", noise(40, 24)), 33), "is truncated"),
    "a png's head": (encoded(".png", noise(40, 24))[:20], "is truncated"),
    "half a bmp": (encoded(".bmp", noise(40, 24))[:900], "cannot decode this BMP"),
    "half a webp": (encoded(".webp", noise(40, 24))[:900], "cannot decode this WebP"),
    "16 bits": (encoded(".png", noise(40, 24).astype(np.uint16) * 257), "16 bits per channel"),
    "another size": (encoded(".png", noise(41, 24)), "41x24 pixels, but 40x24 according"),
    "rotated": (encoded(".png", noise(24, 40)), "EXIF orientation"),
    "expanding": (bomb(30000, 30000), "30000x30000 pixels, but 40x24 according"),
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


def test_a_jpeg_that_is_cut_after_its_thumbnail() -> None:
    """The end marker of the thumbnail is not that of the picture."""
    with pytest.raises(PictureError, match="is truncated"):
        decode(with_thumbnail(-50), Picture(1, "a", 64, 48), "a")


@pytest.mark.parametrize(
    ("width", "height"), [(30000, 30000), (1 << 27, 2), (2_000_000, 1), (1, (1 << 20) + 1)]
)
def test_too_many_pixels_are_not_decoded(
    monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    """Not even those that the annotations announce."""
    monkeypatch.delattr(cv2, "imdecode")
    with pytest.raises(PictureError, match=r"At most 2\^27 are decoded") as caught:
        decode(bomb(width, height), Picture(1, "a", width, height), "a")
    assert f"{width}x{height} pixels" in caught.value.what


def test_a_size_that_is_wrong_is_noticed_before_anything_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(cv2, "imdecode")
    for data in (COMPLETE, turned(6), *(encoded(s, noise(40, 24)) for s in (".bmp", ".webp"))):
        with pytest.raises(PictureError, match="40x24 pixels, but 41x24 according"):
            decode(data, Picture(1, "a", 41, 24), "a")


def test_pixels_that_do_not_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoMemoryError(cv2.error):
        code = cv2.Error.STS_NO_MEM

    def fail(*arguments: object) -> None:
        raise NoMemoryError

    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(PictureError, match="not enough memory to decode the picture: it has 40x24"):
        decode(COMPLETE, Picture(1, "a", 40, 24), "a")


def test_files_that_are_not_read(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="is missing"):
        read_bytes(str(tmp_path / "absent.jpg"))
    with pytest.raises(PictureError, match="is not a regular file"):
        read_bytes(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it: opening it would block
    with pytest.raises(PictureError, match="is not a regular file"):
        read_bytes(str(tmp_path / "pipe"))
    with pytest.raises(PictureError, match="cannot be read: embedded null"):
        read_bytes(str(tmp_path / "a\0b"))
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(PictureError, match="is too large: 1099511627776 bytes"):
        read_bytes(str(tmp_path / "large"))
