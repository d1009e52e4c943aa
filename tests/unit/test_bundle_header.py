"""A picture's size is read from its header, as the decoder will find it."""

from __future__ import annotations

import io
import random
import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from bundle.header import HeaderError, read_header

WIDTH, HEIGHT = 40, 24
PIXELS = np.random.RandomState(3).randint(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def saved(format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, format, **options)
    return stream.getvalue()


def exif() -> Image.Exif:
    orientation = Image.Exif()
    orientation[0x0112] = 6
    return orientation


OLD_BMP = (
    struct.pack("<2sIHHIIHHHH", b"BM", 26 + PIXELS.size, 0, 0, 26, 12, WIDTH, HEIGHT, 1, 24)
    + PIXELS.tobytes()
)
TOP_DOWN_BMP = bytearray(saved("BMP"))
TOP_DOWN_BMP[22:26] = struct.pack("<i", -HEIGHT)
FILES = {
    "JPEG": saved("JPEG"),
    "JPEG, progressive": saved("JPEG", progressive=True),
    "JPEG, rotated": saved("JPEG", exif=exif()),
    "JPEG, comment": saved("JPEG", comment=b"\xff\xc0\x00\x0b\x08\x00\x01\x00\x01\xff\xd9"),
    "PNG": saved("PNG"),
    "PNG, rotated": saved("PNG", exif=exif()),
    "BMP": saved("BMP"),
    "BMP, old": OLD_BMP,
    "BMP, top down": bytes(TOP_DOWN_BMP),
    "WebP": saved("WEBP"),
    "WebP, lossless": saved("WEBP", lossless=True),
    "WebP, extended": saved("WEBP", exif=exif()),
}


@pytest.mark.parametrize("name", FILES)
def test_the_size_is_that_before_the_orientation_is_applied(name: str) -> None:
    header = read_header(FILES[name])
    assert header is not None
    assert (header.width, header.height) == (WIDTH, HEIGHT)
    assert header.format == name.split(",")[0]
    assert header.sequential == (header.format == "JPEG" and "progressive" not in name)


def decoded_size(data: bytes) -> tuple[int, int] | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None
    return None if image is None else (image.shape[1], image.shape[0])


@pytest.mark.parametrize("name", FILES)
def test_whatever_is_decoded_has_the_size_of_its_header(name: str) -> None:
    """Mutated headers: a size that the decoder sees and we do not would pass the limits."""
    generator = random.Random(name)
    for _ in range(300):
        data = bytearray(FILES[name])
        for _ in range(generator.randint(1, 3)):
            at = generator.randrange(min(len(data), 200))
            if generator.random() < 0.7:
                values = (0, 1, 0xC0, 0xD8, 0xDA, 0xFF, generator.randrange(256))
                data[at] = generator.choice(values)
            elif generator.random() < 0.5:
                del data[at : at + generator.randint(1, 4)]
            else:
                data[at:at] = bytes((0xFF, 0xC0)) * generator.randint(1, 2)
        try:
            header = read_header(bytes(data))
        except HeaderError:
            continue
        if header is not None and header.width * header.height < 1 << 16:
            assert decoded_size(bytes(data)) in (None, (header.width, header.height))


@pytest.mark.parametrize("name", FILES)
def test_a_header_that_is_cut_off_anywhere(name: str) -> None:
    data = FILES[name]
    for length in range(30):
        try:
            header = read_header(data[:length])
        except HeaderError:
            continue
        assert header is None or (header.width, header.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xd8\xff\xd9", "a marker where none is allowed"),
        (b"\xff\xd8\xff\xd8", "a marker where none is allowed"),
        (b"\xff\xd8\xff\xda\x00\x08", "JPEG header has no size"),
        (b"\xff\xd8\xff\xe0\x00\x01", "a segment without a length"),
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 5000, "more than 4096 segments"),
        (b"\xff\xd8\xff" + b"\0" * 5000, "is truncated"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "PNG header has no size"),
        (b"RIFF\0\0\0\0WEBPVP9 " + b"\0" * 40, "WebP header has no size"),
    ],
)
def test_a_header_without_a_meaning(data: bytes, message: str) -> None:
    with pytest.raises(HeaderError, match=message):
        read_header(data)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"II*\0", b"\xff\xd8", b"RIFF\0\0\0\0WAVE"])
def test_other_formats(data: bytes) -> None:
    assert read_header(data) is None
