"""Precision-recall curves and histograms as paths for inline SVG.

The template draws them with the page's own colours and fonts, so that they follow a dark theme and
stay sharp at any size, unlike a plotting library's pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIDE = 100.0
"""Charts are drawn in a box of 100 x 100 units; y grows downwards."""


def curve(recall: Sequence[float], precision: Sequence[float]) -> str:
    """The path of a precision-recall curve, without points inside horizontal lines."""
    points = [(SIDE * x, SIDE * (1 - y)) for x, y in zip(recall, precision, strict=True)]
    kept = [
        point
        for index, point in enumerate(points)
        if index in (0, len(points) - 1)
        or not (points[index - 1][1] == point[1] == points[index + 1][1])
    ]
    return "M" + "L".join(f"{_short(x)} {_short(y)}" for x, y in kept)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its position in the box and its text."""

    at: str
    text: str


@dataclass(frozen=True)
class Histogram:
    """A histogram of times.

    Args:
        bars: The path of all bars.
        ticks: The marks of the time axis.
        most: The number of pictures in the highest bar.
        mean: The position of the mean on the time axis.
    """

    bars: str
    ticks: list[Tick]
    most: int
    mean: str


def histogram(values: Sequence[float], bins: int = 36) -> Histogram | None:
    """A histogram of milliseconds from 0 to the longest; None without values."""
    if not values:
        return None
    step = _step(max(values))
    top = step * max(1, math.ceil(max(values) / step - 1e-9))
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int(value / top * bins))] += 1
    most = max(counts)
    width = SIDE / bins
    bars = "".join(
        f"M{_short(index * width + 0.2)} {_short(SIDE)}v{_short(-SIDE * count / most)}"
        f"h{_short(width - 0.4)}v{_short(SIDE * count / most)}z"
        for index, count in enumerate(counts)
        if count
    )
    marks = round(top / step)
    return Histogram(
        bars=bars,
        ticks=[
            Tick(_short(SIDE * index / marks), f"{index * step:g}") for index in range(marks + 1)
        ],
        most=most,
        mean=_short(SIDE * (sum(values) / len(values)) / top),
    )


def _step(top: float) -> float:
    """The distance between about five marks up to `top`: 1, 2 or 5 times a power of ten."""
    if top <= 0:
        return 1.0
    rough = top / 5
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1, 2, 5):
        if rough <= factor * power:
            return float(factor * power)
    return 10 * power


def _short(value: float) -> str:
    text = f"{value:.1f}"
    return text.removesuffix(".0")
