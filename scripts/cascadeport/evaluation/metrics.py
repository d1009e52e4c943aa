"""evaluate: the 12 COCO numbers, AP per category and precision-recall curves.

The 12 numbers are pycocotools' own. hotcoco, which is fast, computes everything as well, every
time, and must agree to 1e-9. What pycocotools took minutes for is kept in evaluation.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cascadeport.evaluation import agreement, fast, record
from cascadeport.evaluation.coco_files import Inputs, load
from cascadeport.evaluation.result import (
    STATS,
    CategoryAp,
    Curves,
    Evaluation,
    Evaluators,
)

Floats = npt.NDArray[np.float64]

# The axes of the precision array: IoU threshold, recall, category, area range, detections.
_ALL_AREAS = 0
_MOST_DETECTIONS = -1
_IOU50, _IOU75 = 0, 5


EVALUATORS = Evaluators(record=record.EVALUATOR, check=fast.EVALUATOR)
"""The evaluators of this installation."""


def evaluate(
    annotations: Path,
    detections: Path,
    image_ids: Sequence[int],
    kept: Evaluation | None = None,
) -> Evaluation:
    """Evaluates detections over exactly the expected pictures.

    Args:
        annotations: A file in COCO's instances format.
        detections: A file in COCO's results format. A picture without detections counts too.
        image_ids: The pictures to evaluate.
        kept: What an earlier evaluation said. Its numbers of record are taken if they are about
            the same files and pictures, by the same version of the same evaluator, and agree with
            the fast evaluator, which runs in any case. Otherwise they are computed again.

    Raises:
        CascadeportError: See `cascadeport.evaluation.coco_files.load`.
    """
    inputs = load(annotations, detections, image_ids)
    evaluator = fast.run(inputs)
    everything = _precision(evaluator)
    check = _stats(evaluator)
    if kept is not None and _holds(kept, inputs, check):
        stats, disagreements = kept.stats, []
    else:
        of_record = record.run(inputs)
        stats = _stats(of_record)
        disagreements = [
            *agreement.stats(stats, check, EVALUATORS),
            *agreement.precision(_precision(of_record), everything, EVALUATORS),
        ]
    precision = everything[:, :, :, _ALL_AREAS, _MOST_DETECTIONS]
    return Evaluation(
        evaluators=EVALUATORS,
        sources=inputs.sources,
        disagreements=disagreements,
        pictures=len(inputs.pictures.ids),
        detections=len(inputs.detections),
        stats=stats,
        per_category=_per_category(inputs, precision),
        pr_curves={
            "iou50": _curves(inputs, precision[_IOU50]),
            "iou75": _curves(inputs, precision[_IOU75]),
        },
    )


def _holds(kept: Evaluation, inputs: Inputs, check: dict[str, float | None]) -> bool:
    """Whether numbers of record that were kept are those that would be computed."""
    return (
        kept.sources == inputs.sources
        and kept.evaluators.record == EVALUATORS.record
        and not kept.disagreements
        and not agreement.stats(kept.stats, check, EVALUATORS)
    )


def _precision(evaluator: Any) -> Floats:
    return np.asarray(evaluator.eval["precision"], dtype=np.float64)


def _stats(evaluator: Any) -> dict[str, float | None]:
    return {name: _or_none(value) for name, value in zip(STATS, evaluator.stats, strict=True)}


def _or_none(value: float) -> float | None:
    # The COCO API writes -1 for a number that does not exist.
    return None if value < 0 else float(value)


def _per_category(inputs: Inputs, precision: Floats) -> list[CategoryAp]:
    """AP of every category; precision is (IoU thresholds, recalls, categories)."""
    counting = inputs.objects.categories[inputs.objects.crowds == 0]
    counts = np.bincount(counting, minlength=len(inputs.categories.ids) + 1)
    return [
        CategoryAp(
            id=category_id,
            name=inputs.names[category_id],
            ap=_mean(precision[:, :, index]),
            ap50=_mean(precision[_IOU50, :, index]),
            annotations=int(counts[index + 1]),
        )
        for index, category_id in enumerate(inputs.categories.ids)
    ]


def _mean(values: Floats) -> float | None:
    existing = values[values > -1]
    return float(existing.mean()) if existing.size else None


def _curves(inputs: Inputs, precision: Floats) -> Curves:
    """The curves of one IoU threshold; precision is (recalls, categories)."""
    exists = precision[0] > -1
    return Curves(
        recall=[index / 100 for index in range(len(precision))],
        all=precision[:, exists].mean(axis=1).tolist() if exists.any() else None,
        per_category={
            category_id: precision[:, index].tolist()
            for index, category_id in enumerate(inputs.categories.ids)
            if exists[index]
        },
    )
