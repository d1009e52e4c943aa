"""Geometry: computed once, written, read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.errors import BundleError
from bundle.geometry import fit, read_geometry
from bundle.job import Picture, Preprocess, Shape


def square(size: int, padding: str = "centre") -> Preprocess:
    return settings(((size, size),), (size, size), padding)


def settings(
    shapes: tuple[tuple[int, int], ...], resize: tuple[int, int], padding: str = "corner"
) -> Preprocess:
    inputs = tuple(Shape(*shape) for shape in shapes)
    return Preprocess("float32", inputs, resize, (0, 0, 0), (1, 1, 1), "rgb", padding)


PUBLIC = settings(((800, 1344), (1344, 800)), (1333, 800))
"""The public evaluation's."""


def picture(width: int, height: int, id: int = 1) -> Picture:
    return Picture(id, "a ü.jpg", width, height)


@pytest.mark.parametrize(
    ("width", "height", "resized", "left", "top"),
    [
        (640, 426, (1216, 809), 0, 203),  # 809.4: the odd row of padding is below
        (426, 640, (809, 1216), 203, 0),
        (1216, 1216, (1216, 1216), 0, 0),
        (3000, 2000, (1216, 811), 0, 202),
        (1, 1, (1216, 1216), 0, 0),
        (30000, 1, (1216, 1), 0, 607),  # 0.04 rounds to nothing: one row is kept
        (1, 30000, (1, 1216), 607, 0),
    ],
)
def test_the_long_edge_fills_the_input(
    width: int, height: int, resized: tuple[int, int], left: int, top: int
) -> None:
    geometry = fit(picture(width, height), square(1216))
    assert (geometry.resized_width, geometry.resized_height) == resized
    assert (geometry.left, geometry.top) == (left, top)
    assert geometry.scale_x == resized[0] / width
    assert geometry.scale_y == resized[1] / height


@pytest.mark.parametrize(
    ("width", "height", "resized", "shape"),
    [
        (640, 480, (1067, 800), (800, 1344)),  # the short edge decides
        (480, 640, (800, 1067), (1344, 800)),
        (640, 360, (1333, 750), (800, 1344)),  # the long edge decides
        (360, 640, (750, 1333), (1344, 800)),
        (500, 500, (800, 800), (800, 1344)),  # a square takes the first
        (5, 4, (1000, 800), (800, 1344)),
        (4000, 3000, (1067, 800), (800, 1344)),
        (30000, 1, (1333, 1), (800, 1344)),
        (1, 30000, (1, 1333), (1344, 800)),
    ],
)
def test_every_orientation_has_its_input(
    width: int, height: int, resized: tuple[int, int], shape: tuple[int, int]
) -> None:
    geometry = fit(picture(width, height), PUBLIC)
    assert (geometry.resized_width, geometry.resized_height) == resized
    assert geometry.shape == shape == (geometry.input_height, geometry.input_width)
    assert (geometry.left, geometry.top) == (0, 0)
    assert geometry.scale_x == resized[0] / width
    assert geometry.scale_y == resized[1] / height


def test_an_input_that_takes_all_comes_first_only_where_it_is_listed_first() -> None:
    wide, square = (800, 1344), (1344, 1344)
    assert fit(picture(640, 480), settings((wide, square), (1333, 800))).shape == wide
    assert fit(picture(480, 640), settings((wide, square), (1333, 800))).shape == square
    assert fit(picture(640, 480), settings((square, wide), (1333, 800))).shape == square


def test_padding_in_the_corner_is_right_and_below() -> None:
    geometry = fit(picture(640, 426), square(1216, "corner"))
    assert (geometry.left, geometry.top) == (0, 0)


def test_what_is_written_is_read_back_exactly(tmp_path: Path) -> None:
    geometries = [fit(picture(w, 333, w), square(1216)) for w in (1, 500, 641, 29999)]
    geometries += [fit(picture(w, 333, w), PUBLIC) for w in (2, 501, 642)]
    path = tmp_path / "geometry.jsonl"
    path.write_text("".join(one.to_line() + "\n" for one in geometries))
    assert read_geometry(str(path)) == {one.id: one for one in geometries}


@pytest.mark.parametrize("broken", ["{", '{"id": 1}', "[]", '{"id": 1, "more": 2}'])
def test_a_broken_line_is_named(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "geometry.jsonl"
    path.write_text(fit(picture(5, 5), square(64)).to_line() + "\n" + broken + "\n")
    with pytest.raises(BundleError) as caught:
        read_geometry(str(path))
    assert caught.value.where == f"{path}, line 2"


def test_without_geometry_there_is_no_guess(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        read_geometry(str(tmp_path / "absent"))
