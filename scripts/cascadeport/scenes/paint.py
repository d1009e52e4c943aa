"""Pixels: backgrounds, colours and the painting of one shape.

Pixel arithmetic is in integers, and outlines are rounded to a sixteenth of a pixel, so that the
last bit of a sine does not change a picture.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cascadeport.scenes.shapes import Points

Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

_SUBPIXEL_BITS = 4


def _random_colour(rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.integers(0, 256, 3)


def contrasting_colour(
    rng: np.random.Generator, against: npt.NDArray[np.int64], distance: int
) -> npt.NDArray[np.int64]:
    """A random RGB colour whose channels differ from `against` by at least `distance` in sum."""
    for _ in range(50):
        colour = _random_colour(rng)
        if np.abs(colour - against).sum() >= distance and _grey_distance(colour, against) >= 30:
            return colour
    return np.where(against < 128, 255, 0)


def _grey_distance(a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]) -> int:
    weights = np.array([299, 587, 114])
    return int(abs(((a - b) * weights).sum()) // 1000)


def background(rng: np.random.Generator, width: int, height: int) -> Picture:
    """A gradient between two related colours, with faint spots and noise; (h,w,3) RGB."""
    first = _random_colour(rng)
    second = np.clip(first + rng.integers(-70, 71, 3), 0, 255)
    across, down = rng.integers(-100, 101, 2)
    y, x = np.mgrid[0:height, 0:width]
    ramp = across * x * 256 // width + down * y * 256 // height
    ramp = (ramp - ramp.min()) * 256 // max(1, int(ramp.max() - ramp.min()))
    picture = first + (second - first) * ramp[..., None] // 256
    for _ in range(int(rng.integers(0, 7))):
        radius = int(rng.integers(10, max(11, min(width, height) // 3)))
        spot = np.zeros((height, width), np.uint8)
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        cv2.circle(spot, at, radius, 255, -1, cv2.LINE_AA)
        near = extent(spot)
        picture[near] += rng.integers(-16, 17, 3) * spot[near][..., None] // 255
    amplitude = int(rng.integers(2, 19))
    noise = rng.integers(-amplitude, amplitude + 1, (2, height, width, 3)).sum(axis=0)
    painted: Picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    return painted


def extent(cover: Picture) -> tuple[slice, slice]:
    """The smallest part of a picture, rows and columns, outside which `cover` (h,w) is 0."""
    x, y, width, height = cv2.boundingRect(cover)
    return slice(y, y + height), slice(x, x + width)


def coverage(points: Points, width: int, height: int) -> Picture:
    """The coverage of every pixel by a polygon, (h,w) 0..255."""
    canvas = np.zeros((height, width), np.uint8)
    # OpenCV's integer coordinates are pixel centres, ours are pixel corners.
    fixed = np.round((points - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(canvas, [fixed], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas


def _texture(
    rng: np.random.Generator, part: tuple[slice, slice], size: float
) -> npt.NDArray[np.bool_]:
    """Stripes, a chequerboard or dots over part of a picture, as a choice of two colours."""
    period = max(4, int(size * rng.integers(12, 26) / 100))
    y, x = np.mgrid[part]
    kind = int(rng.integers(0, 3))
    if kind == 0:
        slope_x, slope_y = [(1, 0), (0, 1), (1, 1), (1, -1)][int(rng.integers(0, 4))]
        return np.asarray((slope_x * x + slope_y * y) % period * 2 < period)
    if kind == 1:
        return np.asarray((x // period + y // period) % 2 == 0)
    half = period // 2
    return np.asarray((x % period - half) ** 2 + (y % period - half) ** 2 <= (period // 3) ** 2)


def _core(cover: Picture, border: int) -> Mask:
    """A covered region without its outer `border` pixels; the picture's edge has no border."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * border + 1, 2 * border + 1))
    core = cv2.erode(cover, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=255)
    return np.asarray(core > 127)


def paint(rng: np.random.Generator, picture: Picture, cover: Picture, size: float) -> None:
    """Paint a covered region onto `picture` in place: filled, outlined or textured."""
    part = extent(cover)
    below = picture[part]
    inside = cover[part] > 127
    local = below[inside].mean(axis=0).astype(np.int64) if inside.any() else np.zeros(3, np.int64)
    main = contrasting_colour(rng, local, 150)
    ink = np.broadcast_to(main, below.shape)
    style = int(rng.integers(0, 10))
    if style >= 8 and size >= 24:
        other = np.clip(main + rng.integers(-80, 81, 3), 0, 255)
        ink = np.where(_texture(rng, part, size)[..., None], main, other)
    elif style >= 5 and size >= 24:
        other = np.clip(local + rng.integers(-60, 61, 3), 0, 255)
        border = max(3, int(size * rng.integers(7, 14) / 100))
        ink = np.where(_core(cover, border)[part][..., None], other, main)
    # Drawn for the entire picture, so that later random numbers do not depend on the shape's size.
    grain = rng.integers(-6, 7, picture.shape)[part]
    share = cover[part][..., None].astype(np.int64)
    mixed = (np.clip(ink + grain, 0, 255) * share + below * (255 - share)) // 255
    picture[part] = mixed.astype(np.uint8)
