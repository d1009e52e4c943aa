"""JPEGs whose decoder complains: those that lack pixel data are noticed, harmless ones pass."""

from __future__ import annotations

import io
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from bundle import decoder
from bundle.header import read_header


@pytest.fixture(params=["counted", "captured"], autouse=True)
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the kernel's count of write calls, and as on a system that has none."""
    if request.param == "captured":
        monkeypatch.setattr(decoder, "_COUNTERS", "/absent")
    return request.param


def jpeg(**options: object) -> bytes:
    """A picture with structure and noise, so that its data is like that of a photograph."""
    random_state = np.random.RandomState(5)
    rows, columns = np.mgrid[0:150, 0:200]
    waves = 90 * np.sin(rows / 17) * np.cos(columns / 23)
    pixels = 128 + waves[..., np.newaxis] + random_state.normal(0, 12, (150, 200, 3))
    stream = io.BytesIO()
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image.save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


KINDS = {
    "sequential": jpeg(),
    "progressive": jpeg(progressive=True),
    "restarting": jpeg(restart_marker_blocks=20),
    "optimised": jpeg(optimize=True),
}


def decode(data: bytes) -> np.ndarray | None:
    header = read_header(data)
    assert header is not None
    return decoder.decode(data, header)


def is_damaged(data: bytes) -> bool:
    try:
        return decode(data) is None
    except decoder.DamagedError:
        return True


def replaced(data: bytes, start: float, end: float, by: Callable[[int], bytes]) -> bytes:
    """The data with another part between two fractions of its pixel data."""
    header = read_header(data)
    assert header is not None
    first = header.scan + 14
    length = len(data) - 2 - first
    begin, stop = first + int(length * start), first + int(length * end)
    return data[:begin] + by(stop - begin) + data[stop:]


def noise(length: int) -> bytes:
    generator = random.Random(length)
    return bytes(generator.randrange(255) for _ in range(length))


@pytest.mark.parametrize("kind", KINDS)
def test_complete_pictures_are_decoded_as_by_opencv(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = KINDS[kind]
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(decode(data), expected)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("start", "end"), [(0.1, 1), (0.5, 1), (0.99, 1), (0.1, 0.9), (0, 0.9), (0.5, 0.52)]
)
def test_a_picture_that_lacks_pixel_data(kind: str, start: float, end: float) -> None:
    assert is_damaged(replaced(KINDS[kind], start, end, lambda length: b""))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", [bytes, noise, lambda length: b"\x55" * length])
def test_a_picture_whose_pixel_data_was_overwritten(kind: str, by: Callable[[int], bytes]) -> None:
    assert is_damaged(replaced(KINDS[kind], 0.1, 0.9, by))


def test_the_decoder_s_own_words_reach_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    assert is_damaged(replaced(KINDS["sequential"], 0.1, 1, lambda length: b""))
    assert "Corrupt JPEG data: premature end of data segment" in capfd.readouterr().err


def with_unknown_jfif(data: bytes) -> bytes:
    assert data[6:11] == b"JFIF\0"
    return data[:11] + b"\x09" + data[12:]


def with_scan_parameters(data: bytes) -> bytes:
    """Parameters that only a progressive JPEG has."""
    header = read_header(data)
    assert header is not None
    parameters = header.scan + 5 + 2 * data[header.scan + 4]
    assert data[parameters : parameters + 3] == b"\x00\x3f\x00"
    return data[:parameters] + b"\x01\x05\x00" + data[parameters + 3 :]


def with_filler(data: bytes, filler: bytes) -> bytes:
    return data[:-2] + filler + data[-2:]


HARMLESS = {
    "JFIF": with_unknown_jfif,
    "scan": with_scan_parameters,
    "a byte": lambda data: with_filler(data, b"\x00"),
    "zeros": lambda data: with_filler(data, bytes(1000)),
    "ones": lambda data: with_filler(data, b"\xaa" * 7),
    "last byte again": lambda data: with_filler(data, data[-3:-2] * 3),
    "all": lambda data: with_filler(with_unknown_jfif(with_scan_parameters(data)), bytes(9)),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_deviations_pass_and_hide_nothing(
    name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """libjpeg prints its first warning only: what is wrong as well must still be noticed."""
    good = KINDS["sequential"]
    data = HARMLESS[name](good)
    assert np.array_equal(decode(data), decode(good))
    if name in ("JFIF", "scan", "zeros"):
        assert capfd.readouterr().err  # libjpeg overlooks a few stray bytes, but not these
    for start, end in ((0.1, 1), (0.5, 0.52)):
        assert is_damaged(HARMLESS[name](replaced(good, start, end, lambda length: b"")))


def test_stray_bytes_of_different_values_are_no_filler() -> None:
    """They are what is left over when the decoder lost its way in damaged data."""
    assert is_damaged(with_filler(KINDS["sequential"], noise(40)))


@pytest.mark.parametrize("kind", ["sequential", "progressive"])
def test_threads_do_not_take_each_other_s_complaints(kind: str) -> None:
    good = KINDS[kind]
    bad = replaced(good, 0.5, 1, lambda length: b"")
    expected = [bool(number % 3) for number in range(120)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(is_damaged, [bad if one else good for one in expected]))
    assert found == expected


def test_something_else_that_is_printed_is_no_damage(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python may run any finaliser in the thread that decodes."""
    imdecode = cv2.imdecode
    calls = []

    def noisy(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 1:
            os.write(2, b"a word\n")
        return imdecode(*arguments)

    monkeypatch.setattr(cv2, "imdecode", noisy)
    assert decode(KINDS["sequential"]) is not None
    assert capfd.readouterr().err == "a word\n"


def test_other_threads_are_not_silenced(how: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What they print while a picture is decoded appears, and is not taken for a complaint."""
    with ThreadPoolExecutor(1) as pool:
        stop = time.monotonic() + 0.3

        def print_lines() -> int:
            count = 0
            while time.monotonic() < stop:
                os.write(2, b"a line\n")
                count += 1
                time.sleep(0.001)
            return count

        printed = pool.submit(print_lines)
        while not printed.done():
            assert not is_damaged(KINDS["sequential"])
        assert capfd.readouterr().err.count("a line\n") == printed.result()
