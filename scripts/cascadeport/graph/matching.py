"""Matches the detections of two runs of one network: by class and overlap, one to one.

Rows are no identity: two detections of nearly the same score swap rows by rounding. What
identifies a detection is its class and where it is: after NMS, boxes of one class overlap little,
so the box that overlaps most is the same detection.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Smallest overlap (IoU) of two boxes that are the same detection.
OVERLAP = 0.5

#: Boxes (n,5): x1, y1, x2, y2 in pixels and the score; labels (n).
Detections = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Matching:
    """The detections of two runs.

    Attributes:
        boxes: Per matched pair, the largest difference of a coordinate in pixels, float64 (m).
        scores: Per matched pair, the difference of the scores, float64 (m).
        missing: Scores of the first run's detections that the second lacks, float64.
        missing_rows: Their rows, without padding.
        extra: Scores of the second run's detections that the first lacks, float64.
        extra_rows: Their rows, without padding.
        moved: Number of pairs whose detections are in different rows.
        rows: The row of each pair in the first run, without padding.
        partners: Its row in the second.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    missing: NDArray[np.float64]
    missing_rows: NDArray[np.int64]
    extra: NDArray[np.float64]
    extra_rows: NDArray[np.int64]
    moved: int
    rows: NDArray[np.int64]
    partners: NDArray[np.int64]


def real(detections: Detections) -> Detections:
    """The detections without padding, which has score 0."""
    boxes, labels = detections
    kept = boxes[:, 4] != 0
    return np.asarray(boxes[kept], np.float64), np.asarray(labels).reshape(-1)[kept]


def match(first: Detections, second: Detections) -> Matching:
    """Pairs detections of the same class, those that overlap most first.

    Of boxes that overlap equally, those in the nearest rows are paired.
    """
    (boxes, labels), (others, classes) = real(first), real(second)
    partner = partners(overlaps(boxes, others) * (labels[:, None] == classes[None]))
    free = np.ones(len(others), dtype=bool)
    free[partner[partner >= 0]] = False
    paired = np.flatnonzero(partner >= 0)
    difference = np.abs(boxes[paired] - others[partner[paired]])
    return Matching(
        boxes=difference[:, :4].max(axis=1, initial=0.0),
        scores=difference[:, 4],
        missing=boxes[partner < 0, 4],
        missing_rows=np.flatnonzero(partner < 0),
        extra=others[free, 4],
        extra_rows=np.flatnonzero(free),
        moved=int(np.sum(partner[paired] != paired)),
        rows=paired,
        partners=partner[paired],
    )


def partners(overlap: NDArray[Any]) -> NDArray[np.int64]:
    """Pairs rows and columns one to one, those that overlap most first.

    Args:
        overlap: Of every row with every column (n,m); 0 where they must not be paired.

    Returns:
        The column of each row, -1 where none overlaps by `OVERLAP` or more (n).
    """
    rows, columns = np.nonzero(overlap >= OVERLAP)
    order = np.lexsort((np.abs(rows - columns), -overlap[rows, columns]))
    partner = np.full(overlap.shape[0], -1, np.int64)
    free = [True] * overlap.shape[1]
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if partner[row] < 0 and free[column]:
            partner[row], free[column] = column, False
    return partner


def overlaps(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Intersection over union of boxes (n,4+) and (m,4+): (n,m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:4], second[None, :, 2:4])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(boxes[:, 2:4] - boxes[:, :2], axis=1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None] - common
    with np.errstate(divide="ignore", invalid="ignore"):
        overlap = common / union
    # Boxes without an area overlap only with themselves; a box that is not finite, with nothing.
    same = (first[:, None, :4] == second[None, :, :4]).all(axis=2)
    return np.where(same, 1.0, np.nan_to_num(overlap, nan=0.0, posinf=0.0))
