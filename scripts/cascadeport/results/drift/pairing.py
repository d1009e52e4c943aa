"""Pairs the detections of two rows in one picture, and says in what they differ.

First by class and overlap, as verification does (graph/matching.py). What is left is paired by
overlap alone: the same place, another class. What is left then is missing in the second row, or
extra there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cascadeport.graph.matching import overlaps, partners

Kind = Literal["same", "moved", "class", "missing", "extra"]


@dataclass(frozen=True)
class Found:
    """The detections of one row in one picture, n of them.

    Args:
        boxes: x1, y1, x2, y2 in pixels of the picture (n,4).
        scores: (n).
        categories: The ids of their categories (n).
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    categories: NDArray[np.int64]

    def above(self, score: float) -> Found:
        """Those of at least this score."""
        kept = self.scores >= score
        return Found(self.boxes[kept], self.scores[kept], self.categories[kept])


@dataclass(frozen=True)
class Pairing:
    """What became of the detections of two rows in one picture.

    Args:
        same: Rows of pairs of one class: the first's and the second's (m,2).
        changed: Rows of pairs in the same place of different classes (k,2).
        missing: Rows of the first's detections that the second lacks.
        extra: Rows of the second's detections that the first lacks.
        pixels: Per pair of `same`, the largest difference of a coordinate in pixels (m).
        overlap: Per pair of `same`, their overlap (IoU) (m).
        scores: Per pair of `same`, the second's score minus the first's (m).
    """

    same: NDArray[np.int64]
    changed: NDArray[np.int64]
    missing: NDArray[np.int64]
    extra: NDArray[np.int64]
    pixels: NDArray[np.float64]
    overlap: NDArray[np.float64]
    scores: NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """One detection of two rows, and in what it differs.

    `first` and `second` are its boxes (x1, y1, x2, y2 in pixels), scores and category ids in the
    two rows; None where a row does not have it.
    """

    kind: Kind
    first: tuple[NDArray[np.float64], float, int] | None
    second: tuple[NDArray[np.float64], float, int] | None


def pair(first: Found, second: Found) -> Pairing:
    """Pairs the detections of two rows in one picture."""
    overlap = overlaps(first.boxes, second.boxes)
    partner = partners(overlap * (first.categories[:, None] == second.categories[None]))
    same = _pairs(partner)
    left, right = _others(len(first.boxes), same[:, 0]), _others(len(second.boxes), same[:, 1])
    changed = _pairs(partners(overlap[np.ix_(left, right)]))
    changed = np.column_stack([left[changed[:, 0]], right[changed[:, 1]]])
    a, b = same[:, 0], same[:, 1]
    return Pairing(
        same=same,
        changed=changed,
        missing=np.setdiff1d(left, changed[:, 0]),
        extra=np.setdiff1d(right, changed[:, 1]),
        pixels=np.abs(first.boxes[a] - second.boxes[b]).max(axis=1, initial=0.0),
        overlap=overlap[a, b],
        scores=second.scores[b] - first.scores[a],
    )


def differences(first: Found, second: Found, pixels: float, scores: float) -> Iterator[Difference]:
    """Every detection of two rows in one picture, those that are alike first.

    Args:
        pixels, scores: A pair that differs by no more than these is the `same`.
    """
    paired = pair(first, second)
    alike = (paired.pixels <= pixels) & (np.abs(paired.scores) <= scores)
    for is_alike in (True, False):
        for a, b in paired.same[alike == is_alike]:
            yield Difference("same" if is_alike else "moved", _of(first, a), _of(second, b))
    for a, b in paired.changed:
        yield Difference("class", _of(first, a), _of(second, b))
    for a in paired.missing:
        yield Difference("missing", _of(first, a), None)
    for b in paired.extra:
        yield Difference("extra", None, _of(second, b))


def _of(found: Found, row: Any) -> tuple[NDArray[np.float64], float, int]:
    return found.boxes[row], float(found.scores[row]), int(found.categories[row])


def _pairs(partner: NDArray[np.int64]) -> NDArray[np.int64]:
    rows = np.flatnonzero(partner >= 0)
    return np.column_stack([rows, partner[rows]])


def _others(count: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    kept = np.ones(count, dtype=bool)
    kept[rows] = False
    return np.flatnonzero(kept)
