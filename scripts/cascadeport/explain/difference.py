"""How far two arrays of the same value are apart, in units of the value itself.

Differences are divided by the root mean square of the first array, so that one limit fits every
tensor. Values with a row per proposal are judged by their rows: a RoI whose number of samples
flips by rounding changes its own row completely and no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascadeport.graph.matching import Detections, Matching, match, real

#: How many times its noise a difference may be.
FACTOR = 10.0
#: What is always allowed of a value's root mean square: the rounding of sums in float32.
FLOOR = 1e-5
#: Above this, a row differs by more than rounding ever does.
GROSS = 1e-3
#: Share of rows that may differ grossly, and how many of them always may.
STRAY_SHARE, STRAY_ROWS = 0.01, 2


@dataclass(frozen=True)
class Difference:
    """How far apart two arrays are, relative to the root mean square of the first.

    Attributes:
        middle: The median over rows of the largest difference in each; of a value without rows,
            the largest difference.
        largest: The largest difference. Infinite where only one is finite, or the shapes differ.
        gross: How many rows differ by more than `GROSS`.
        rows: How many rows were compared; 0: the value has none.
        strays: Of boxes, how many only one of the two has.
        other_shape: Both shapes in words, where they differ.
    """

    middle: float
    largest: float
    gross: int = 0
    rows: int = 0
    strays: int = 0
    other_shape: str = ""

    def beyond(self, noise: Difference) -> bool:
        """Whether it is beyond a noise of the same value."""
        if self.other_shape or self.middle > max(FACTOR * noise.middle, FLOOR):
            return True
        if self.strays > max(int(STRAY_SHARE * self.rows), 4 * noise.strays):
            return True
        allowed = max(STRAY_ROWS, STRAY_SHARE * self.rows, 4 * noise.gross)
        return bool(self.rows) and self.gross > allowed


SAME = Difference(0.0, 0.0)


def between(
    first: NDArray[Any], second: NDArray[Any], *, by_rows: bool = False, keep: Any = None
) -> Difference:
    """Compares two arrays.

    Args:
        first: What differences are relative to.
        by_rows: Whether the first axis counts rows that may differ one by one.
        keep: The rows to compare, a mask or indices; None: all.
    """
    if first.shape != second.shape:
        shapes = " and ".join("x".join(map(str, each.shape)) or "1" for each in (first, second))
        return Difference(np.inf, np.inf, other_shape=shapes)
    if keep is not None and first.ndim:
        first, second = first[keep], second[keep]
    if not first.size:
        return SAME
    one, other = (np.atleast_1d(np.asarray(each, np.float64)) for each in (first, second))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(one - other)
    finite = np.isfinite(one)
    apart[one == other] = 0.0
    apart[np.isnan(apart)] = np.inf
    apart[~finite & ~np.isfinite(other)] = 0.0
    size = float(np.sqrt(np.mean(np.square(one[finite])))) if finite.any() else 0.0
    apart /= size or 1.0
    if not by_rows or first.ndim == 0:
        largest = float(apart.max())
        return Difference(largest, largest)
    rows = apart.reshape(len(apart), -1).max(axis=1)
    return Difference(
        middle=float(np.median(rows)),
        largest=float(rows.max()),
        gross=int(np.sum(rows > GROSS)),
        rows=len(rows),
    )


def of_boxes(
    first: Detections, second: Detections, *, paired: Matching | None = None
) -> Difference:
    """Compares boxes (n,5) with labels (n) that may be in other rows; rows of score 0 are padding.

    Coordinates and scores are relative to the largest of each.
    """
    matching = match(first, second) if paired is None else paired
    boxes = real(first)[0]
    sizes = [float(np.abs(part).max(initial=0.0)) or 1.0 for part in (boxes[:, :4], boxes[:, 4])]
    apart = np.maximum(matching.boxes / sizes[0], matching.scores / sizes[1])
    return Difference(
        middle=float(np.median(apart)) if len(apart) else 0.0,
        largest=float(apart.max(initial=0.0)),
        gross=int(np.sum(apart > GROSS)),
        rows=len(boxes),
        strays=len(matching.missing_rows) + len(matching.extra_rows),
    )


def largest(differences: Sequence[Difference]) -> Difference:
    """The largest of each statistic: the noise of several runs."""
    return Difference(
        middle=max((each.middle for each in differences), default=0.0),
        largest=max((each.largest for each in differences), default=0.0),
        gross=max((each.gross for each in differences), default=0),
        rows=max((each.rows for each in differences), default=0),
        strays=max((each.strays for each in differences), default=0),
    )
