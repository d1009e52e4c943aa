"""One scene: a picture and the things visible in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascadeport.scenes.paint import Mask, Picture, background, coverage, paint
from cascadeport.scenes.shapes import CATEGORIES, ShapeCategory, outline

MIN_VISIBLE = 0.5
"""The visible share that every object keeps: nothing visible in a picture is unlabelled."""

SIZES = (
    # share of objects, smallest and largest diameter in pixels
    (0.10, 9, 18),
    (0.35, 24, 64),
    (0.45, 64, 130),
)
HUGE_SHARE, HUGE_LEAST, HUGE_MOST = 0.10, 0.5, 0.95
"""The rest is huge: the diameter is a share of the picture's short side."""


@dataclass
class Thing:
    """A painted object or crowd, and where it is still visible."""

    category: ShapeCategory
    crowd: bool
    painted: int
    """The number of pixels it covered when it was painted."""
    visible: Mask


@dataclass(frozen=True)
class Scene:
    """A picture, (h,w,3) RGB, and the things in it from back to front."""

    picture: Picture
    things: list[Thing]


def _pick_size(rng: np.random.Generator, short_side: int) -> float:
    draw = rng.random()
    for share, least, most in SIZES:
        if draw < share:
            return float(least * (most / least) ** rng.random())
        draw -= share
    return float(short_side * (HUGE_LEAST + (HUGE_MOST - HUGE_LEAST) * rng.random()))


def _pick_category(rng: np.random.Generator) -> ShapeCategory:
    return CATEGORIES[int(rng.integers(0, len(CATEGORIES)))]


def _cover_of(
    rng: np.random.Generator,
    category: ShapeCategory,
    at: tuple[float, float],
    size: float,
    shape: tuple[int, int],
) -> Picture:
    turn = float(rng.integers(0, 4) * 90) if category.name == "arrow" else 0.0
    points = outline(
        category.name,
        centre=at,
        size=size,
        stretch=float(0.75 + 0.6 * rng.random()),
        degrees=turn + float(rng.integers(-20, 21)),
    )
    return coverage(points, shape[1], shape[0])


def _leaves_others_visible(things: list[Thing], mask: Mask) -> bool:
    return all(
        np.count_nonzero(thing.visible & ~mask) >= MIN_VISIBLE * thing.painted for thing in things
    )


def _add(things: list[Thing], thing: Thing) -> None:
    for other in things:
        other.visible &= ~thing.visible
    things.append(thing)


def _add_object(
    rng: np.random.Generator, picture: Picture, things: list[Thing], size: float
) -> None:
    height, width = picture.shape[:2]
    category = _pick_category(rng)
    margin = 0.35 * size
    for _ in range(30):
        at = (
            float(margin + rng.random() * max(1.0, width - 2 * margin)),
            float(margin + rng.random() * max(1.0, height - 2 * margin)),
        )
        cover = _cover_of(rng, category, at, size, (height, width))
        mask = cover > 127
        if np.count_nonzero(mask) >= 20 and _leaves_others_visible(things, mask):
            paint(rng, picture, cover, size)
            _add(things, Thing(category, False, int(np.count_nonzero(mask)), mask))
            return


def _add_crowd(rng: np.random.Generator, picture: Picture, things: list[Thing]) -> None:
    """A dense group of one class, too many to annotate singly: one annotation for all."""
    height, width = picture.shape[:2]
    category = _pick_category(rng)
    reach_x, reach_y = width * 0.24, height * 0.2
    middle = (
        reach_x + rng.random() * (width - 2 * reach_x),
        reach_y + rng.random() * (height - 2 * reach_y),
    )
    union = np.zeros((height, width), np.bool_)
    for _ in range(int(rng.integers(14, 31))):
        size = float(10 + 10 * rng.random())
        at = (
            float(middle[0] + (rng.random() + rng.random() - 1) * reach_x),
            float(middle[1] + (rng.random() + rng.random() - 1) * reach_y),
        )
        cover = _cover_of(rng, category, at, size, (height, width))
        paint(rng, picture, cover, size)
        union |= cover > 127
    _add(things, Thing(category, True, int(np.count_nonzero(union)), union))


def compose(
    rng: np.random.Generator, width: int, height: int, *, empty: bool = False, crowd: bool = False
) -> Scene:
    """Draw one scene of `width` x `height` pixels.

    Larger objects are behind smaller ones; overlaps are limited by `MIN_VISIBLE`.

    Args:
        empty: Draw the background only.
        crowd: Add a crowd to the single objects.
    """
    picture = background(rng, width, height)
    things: list[Thing] = []
    if empty:
        return Scene(picture, things)
    if crowd:
        _add_crowd(rng, picture, things)
    sizes = [_pick_size(rng, min(width, height)) for _ in range(int(rng.integers(1, 8)))]
    for size in sorted(sizes, reverse=True):
        _add_object(rng, picture, things, size)
    return Scene(picture, things)
