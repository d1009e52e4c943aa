"""The network's input, held against the plain arithmetic that it stands for."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.geometry import PictureGeometry, fit
from bundle.job import Picture, Preprocess, Shape
from bundle.preprocess import Canvas, Preprocessor, pad_bytes, resize_portably

SHAPES = [(64, 48), (48, 64), (1, 1), (1, 77), (77, 1), (300, 2), (2, 300), (500, 333), (128, 256)]


def settings(**changes: object) -> Preprocess:
    values: dict[str, object] = {
        "dtype": "float32",
        "shapes": (Shape(130, 130),),
        "resize": (130, 130),
        "mean": (123.675, 116.28, 103.53),
        "std": (58.395, 57.12, 57.375),
        "channels": "rgb",
        "padding": "centre",
    }
    return Preprocess(**{**values, **changes})  # type: ignore[arg-type]


def noise(width: int, height: int) -> np.ndarray:
    return np.random.RandomState(width).randint(0, 256, (height, width, 3), np.uint8)


def fitted(image: np.ndarray, how: Preprocess) -> PictureGeometry:
    return fit(Picture(1, "", image.shape[1], image.shape[0]), how)


def resized(image: np.ndarray, geometry: PictureGeometry) -> np.ndarray:
    edges = (geometry.resized_width, geometry.resized_height)
    if image.shape[:2] == (1, 1):
        return np.tile(image, (edges[1], edges[0], 1))
    return cv2.resize(image, edges)


def plain_floats(image: np.ndarray, how: Preprocess) -> np.ndarray:
    """Step by step: float32 minus mean, times 1/std in float64, to float32; then zeros."""
    geometry = fitted(image, how)
    pixels = resized(image, geometry)
    if how.channels == "rgb":
        pixels = pixels[:, :, ::-1]
    values = pixels.astype(np.float32) - np.array(how.mean, np.float32)
    factors = 1 / np.array(how.std, np.float32).astype(np.float64)
    values = (values.astype(np.float64) * factors).astype(np.float32)
    return framed(values, geometry, np.zeros(3, np.float32)).transpose(2, 0, 1)[np.newaxis]


def framed(values: np.ndarray, geometry: PictureGeometry, padding: np.ndarray) -> np.ndarray:
    padded = np.empty((*geometry.shape, 3), values.dtype)
    padded[:] = padding
    top, left = geometry.top, geometry.left
    padded[top : top + values.shape[0], left : left + values.shape[1]] = values
    return padded


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("padding", ["centre", "corner"])
@pytest.mark.parametrize("shape", SHAPES)
def test_float_input(shape: tuple[int, int], channels: str, padding: str) -> None:
    how, image = settings(channels=channels, padding=padding), noise(*shape)
    canvas = Canvas(how)
    Preprocessor(how).prepare(image.copy(), fitted(image, how), canvas)
    assert canvas.array.dtype == np.float32
    assert canvas.array.tobytes() == plain_floats(image, how).tobytes()


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("padding", ["centre", "corner"])
@pytest.mark.parametrize("shape", SHAPES)
def test_byte_input(shape: tuple[int, int], channels: str, padding: str) -> None:
    how, image = settings(dtype="uint8", channels=channels, padding=padding), noise(*shape)
    geometry, canvas = fitted(image, how), Canvas(how)
    Preprocessor(how).prepare(image.copy(), geometry, canvas)
    pixels = resized(image, geometry)[:, :, :: -1 if channels == "rgb" else 1]
    wanted = framed(pixels, geometry, np.array([124, 116, 104], np.uint8))
    assert canvas.array.dtype == np.uint8
    assert np.array_equal(canvas.array, wanted[np.newaxis])


ORIENTED = {"shapes": (Shape(96, 160), Shape(160, 96)), "resize": (150, 90)}
BOTH = {"shapes": (Shape(96, 160), Shape(160, 128)), "resize": (150, 90)}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_orientation_lies_in_its_own_input(shape: tuple[int, int]) -> None:
    how, image = settings(padding="corner", **ORIENTED), noise(*shape)
    canvas = Canvas(how)
    Preprocessor(how).prepare(image.copy(), fitted(image, how), canvas)
    assert canvas.array.shape == ((1, 3, 160, 96) if shape[1] > shape[0] else (1, 3, 96, 160))
    assert canvas.array.tobytes() == plain_floats(image, how).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("inputs", [{}, ORIENTED, BOTH], ids=["square", "oriented", "both"])
def test_a_canvas_keeps_nothing_of_the_picture_before(dtype: str, inputs: dict[str, Any]) -> None:
    how = settings(dtype=dtype, **inputs)
    preprocessor, used = Preprocessor(how), Canvas(how)
    for shape in [*SHAPES, *reversed(SHAPES), SHAPES[0], SHAPES[0]]:
        image, fresh = noise(*shape), Canvas(how)
        preprocessor.prepare(image.copy(), fitted(image, how), used)
        preprocessor.prepare(image.copy(), fitted(image, how), fresh)
        assert np.array_equal(used.array, fresh.array)


@pytest.mark.skipif(
    platform.machine() in ("aarch64", "arm64"), reason="OpenCV itself rounds otherwise there"
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((426, 640), (277, 416)),
        ((240, 320), (120, 160)),
        ((241, 321), (120, 160)),
        ((240, 321), (120, 160)),
        ((1501, 1999), (800, 1065)),
        ((90, 1500), (80, 1333)),
        ((2, 300), (1, 96)),
        ((2, 2), (1, 1)),
        ((375, 500), (912, 1216)),
        ((160, 160), (160, 160)),
        ((5, 7), (238, 333)),
        ((1, 50), (2, 96)),
    ],
)
def test_what_resizes_on_arm_gives_the_same_bits(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    image = np.random.default_rng(sum(before)).integers(0, 256, (*before, 3), np.uint8)
    plain, portable = np.zeros((2, *after, 3), np.uint8)
    cv2.resize(image, after[::-1], plain, interpolation=cv2.INTER_LINEAR)
    resize_portably(image, portable)
    np.testing.assert_array_equal(portable, plain)


def test_padding_bytes_are_the_mean_rounded_half_up_within_a_byte() -> None:
    assert pad_bytes(settings(mean=(0.5, 254.5, 300.0))).tolist() == [1, 255, 255]
    assert pad_bytes(settings(mean=(0.49, 1.5, -3.0))).tolist() == [0, 2, 0]


def test_one_file_of_the_guide_has_17743872_bytes(tmp_path: Path) -> None:
    canvas = Canvas(settings(shapes=(Shape(1216, 1216),), resize=(1216, 1216)))
    canvas.array.tofile(tmp_path / "one.bin")
    assert (tmp_path / "one.bin").stat().st_size == 17_743_872
