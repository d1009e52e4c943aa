"""The demo's eight classes of drawn shapes: their outlines and category ids."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]


class ShapeCategory(NamedTuple):
    """A class of shapes: its category id (with gaps, like COCO's), name and group."""

    id: int
    name: str
    supercategory: str


CATEGORIES = (
    ShapeCategory(1, "disc", "round"),
    ShapeCategory(3, "square", "straight"),
    ShapeCategory(4, "triangle", "straight"),
    ShapeCategory(7, "star", "pointed"),
    ShapeCategory(10, "cross", "straight"),
    ShapeCategory(15, "crescent", "round"),
    ShapeCategory(22, "heart", "round"),
    ShapeCategory(90, "arrow", "pointed"),
)


def _arc(start: float, stop: float, count: int) -> Points:
    angles = np.radians(np.linspace(start, stop, count))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _disc() -> Points:
    return _arc(0, 360, 49)[:-1]


def _square() -> Points:
    return np.array([(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)])


def _triangle() -> Points:
    return np.array([(0.0, -0.95), (0.95, 0.75), (-0.95, 0.75)])


def _star() -> Points:
    points = _arc(-90, 270, 11)[:-1]
    points[1::2] *= 0.42
    return points


def _cross() -> Points:
    a, b = 0.3, 0.92
    quarter = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a)]
    return np.array([*quarter, (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)])


def _crescent() -> Points:
    outer = _arc(50, 310, 37)
    inner = _arc(294, 66, 29) * 0.72 + (0.36, 0.0)
    return np.concatenate([outer, inner]) + (0.15, 0.0)


def _heart() -> Points:
    t = np.radians(np.arange(0, 360, 8, dtype=np.float64))
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1) / 17


def _arrow() -> Points:
    upper = [(-0.95, -0.26), (0.1, -0.26), (0.1, -0.75), (0.95, 0.0)]
    return np.array([*upper, (0.1, 0.75), (0.1, 0.26), (-0.95, 0.26)])


_OUTLINES: dict[str, Callable[[], Points]] = {
    "disc": _disc,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "crescent": _crescent,
    "heart": _heart,
    "arrow": _arrow,
}


def outline(
    name: str, *, centre: tuple[float, float], size: float, stretch: float, degrees: float
) -> Points:
    """The outline of a shape as a closed polygon, (n,2) x,y in picture pixels.

    Args:
        name: The class, a name in `CATEGORIES`.
        centre: Its centre, x,y in pixels.
        size: Diameter in pixels of the circle that the shape roughly fills.
        stretch: Width over height before the rotation.
        degrees: Rotation, clockwise as seen (y points down).
    """
    scale = np.array([np.sqrt(stretch), 1 / np.sqrt(stretch)]) * size / 2
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = (_OUTLINES[name]() * scale) @ np.array([[cos, sin], [-sin, cos]])
    moved: Points = turned + np.asarray(centre)
    return moved
