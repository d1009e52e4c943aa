"""matches: which detections are right at which IoU, detection by detection.

An evaluation says one number for all pictures. Matching looks at one picture at a time, so from the
matches of every detection the accuracy over any selection of pictures follows without matching
again: results/intervals.py draws a thousand of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cascadeport.evaluation import fast
from cascadeport.evaluation.coco_files import load
from cascadeport.evaluation.fast import AREAS, Size

WRONG, RIGHT, IGNORED = 0, 1, 2
"""What a detection is at an IoU; an ignored one matches a crowd and counts as neither."""
MOST = 100
"""COCO counts so many detections of a picture and category, those of the highest scores."""


@dataclass(frozen=True)
class CategoryMatches:
    """One category: its detections by descending score, in the order in which COCO counts them.

    Args:
        id: The category's id.
        name: The category's name.
        pictures: The place of each detection's picture, from 0 (n).
        verdicts: WRONG, RIGHT or IGNORED at each IoU from 0.50 to 0.95 (10, n).
        objects: The place of the picture of each object that counts: no crowd, and of the size (m).
    """

    id: int
    name: str
    pictures: npt.NDArray[np.int64]
    verdicts: npt.NDArray[np.uint8]
    objects: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """The matches of a pass.

    Args:
        picture_ids: The pictures, in the order of their places.
        categories: Every category of the data set, by id.
    """

    picture_ids: tuple[int, ...]
    categories: tuple[CategoryMatches, ...]


def match(
    annotations: Path, detections: Path, image_ids: Sequence[int], size: Size = "all"
) -> Matches:
    """Matches detections with objects by COCO's rules.

    Args:
        annotations: A file in COCO's instances format.
        detections: A file in COCO's results format.
        image_ids: The pictures.
        size: The size of the objects that count; others are ignored, and so are detections that
            match one of them, or none and are not of this size themselves.

    Raises:
        CascadeportError: See `cascadeport.evaluation.coco_files.load`.
    """
    inputs = load(annotations, detections, image_ids)
    found, objects = inputs.detections, inputs.objects
    pictures = found[:, 0].astype(np.int64) - 1
    categories = found[:, 6].astype(np.int64) - 1
    verdicts = np.zeros((fast.THRESHOLDS, len(found)), dtype=np.uint8)
    low, high = AREAS[size]
    areas = found[:, 3] * found[:, 4]
    verdicts[:, (areas < low) | (areas > high)] = IGNORED
    # Where a picture has no object of a category, no detection of it is right: nothing to match.
    count = len(inputs.categories.ids)
    pairs = pictures * count + categories
    matched = np.flatnonzero(
        np.isin(pairs, (objects.pictures - 1) * count + (objects.categories - 1))
    )
    verdicts[:, matched] = fast.verdicts(inputs, matched, size)
    order = _counted(pictures, categories, found[:, 5])
    counted = (objects.crowds == 0) & (objects.areas >= low) & (objects.areas <= high)
    made = []
    for number, category in enumerate(inputs.categories.ids):
        of = order[categories[order] == number]
        made.append(
            CategoryMatches(
                id=category,
                name=inputs.names[category],
                pictures=pictures[of],
                verdicts=np.ascontiguousarray(verdicts[:, of]),
                objects=objects.pictures[counted & (objects.categories == number + 1)] - 1,
            )
        )
    return Matches(inputs.pictures.ids, tuple(made))


def _counted(
    pictures: npt.NDArray[np.int64],
    categories: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
) -> npt.NDArray[np.int64]:
    """The detections that count, by descending score; equal ones in the order of pictures."""
    order = np.lexsort((-scores, pictures, categories))
    keys = np.stack([categories[order], pictures[order]])
    starts = np.flatnonzero(np.r_[True, (keys[:, 1:] != keys[:, :-1]).any(axis=0)])
    lengths = np.diff(np.r_[starts, len(order)])
    ranks = np.arange(len(order)) - np.repeat(starts, lengths)
    order = order[ranks < MOST]
    return order[np.argsort(-scores[order], kind="stable")]
