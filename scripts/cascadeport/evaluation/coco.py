"""evaluate: the 12 COCO numbers, AP per category and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascadeport.evaluation import evaluator as engine
from cascadeport.evaluation.inputs import Inputs, load
from cascadeport.evaluation.model import STATS, CategoryAp, Curves, Evaluation, Evaluator

Floats = npt.NDArray[np.float64]

# The axes of the precision array: IoU threshold, recall, category, area range, detections.
_ALL_AREAS = 0
_MOST_DETECTIONS = -1
_IOU50, _IOU75 = 0, 5


def evaluate(annotations: Path, detections: Path, image_ids: Sequence[int]) -> Evaluation:
    """Evaluates detections over exactly the expected pictures.

    Args:
        annotations: COCO's instances format.
        detections: COCO's results format; a picture without any counts all the same.
        image_ids: The pictures that count.

    Raises:
        CascadeportError: See `cascadeport.evaluation.inputs.load`.
    """
    inputs = load(annotations, detections, image_ids)
    evaluator = engine.run(inputs)
    results: Any = evaluator.eval
    precision: Floats = np.asarray(results["precision"], dtype=np.float64)
    precision = precision[:, :, :, _ALL_AREAS, _MOST_DETECTIONS]
    return Evaluation(
        evaluator=Evaluator(name=engine.NAME, version=engine.VERSION),
        images=len(inputs.images.ids),
        detections=len(inputs.detections),
        stats={name: _existing(value) for name, value in zip(STATS, evaluator.stats, strict=True)},
        per_category=_per_category(inputs, precision),
        pr_curves={
            "iou50": _curves(inputs, precision[_IOU50]),
            "iou75": _curves(inputs, precision[_IOU75]),
        },
    )


def _existing(value: float) -> float | None:
    # The COCO API writes -1 for a number that does not exist.
    return None if value < 0 else float(value)


def _per_category(inputs: Inputs, precision: Floats) -> list[CategoryAp]:
    """AP of every category; precision is (IoU thresholds, recalls, categories)."""
    counting = inputs.objects.categories[inputs.objects.crowds == 0]
    counts = np.bincount(counting, minlength=len(inputs.categories.ids) + 1)
    return [
        CategoryAp(
            id=number,
            name=inputs.names[number],
            ap=_mean(precision[:, :, place]),
            ap50=_mean(precision[_IOU50, :, place]),
            annotations=int(counts[place + 1]),
        )
        for place, number in enumerate(inputs.categories.ids)
    ]


def _mean(values: Floats) -> float | None:
    existing = values[values > -1]
    return float(existing.mean()) if existing.size else None


def _curves(inputs: Inputs, precision: Floats) -> Curves:
    """The curves of one IoU threshold; precision is (recalls, categories)."""
    exists = precision[0] > -1
    return Curves(
        recall=[place / 100 for place in range(len(precision))],
        all=precision[:, exists].mean(axis=1).tolist() if exists.any() else None,
        per_category={
            number: precision[:, place].tolist()
            for place, number in enumerate(inputs.categories.ids)
            if exists[place]
        },
    )
