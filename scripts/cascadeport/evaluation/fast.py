"""The fast evaluator, which checks the one of record: hotcoco, a port of pycocotools to Rust."""

from __future__ import annotations

import contextlib
import io
from typing import Literal

import hotcoco
import numpy as np
import numpy.typing as npt

from cascadeport.evaluation.coco_files import Inputs
from cascadeport.evaluation.result import Evaluator

EVALUATOR = Evaluator(name="hotcoco", version=hotcoco.__version__)
THRESHOLDS = 10
"""IoU 0.50, 0.55, ..., 0.95."""

Size = Literal["all", "small", "medium", "large"]
AREAS: dict[Size, tuple[float, float]] = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}
"""COCO's sizes: the least and the largest area of an object, in square pixels, both included."""


def run(inputs: Inputs) -> hotcoco.COCOeval:
    """Matches, accumulates and summarises boxes according to COCO."""
    evaluator = _evaluator(inputs, inputs.detections)
    evaluator.evaluate()
    evaluator.accumulate()
    # Only `summarize` computes the 12 numbers, and it prints them; standard output is the user's.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.summarize()
    return evaluator


def verdicts(
    inputs: Inputs, chosen: npt.NDArray[np.intp], size: Size = "all"
) -> npt.NDArray[np.uint8]:
    """Matches some of the detections: 0 wrong, 1 right, 2 ignored; (THRESHOLDS, chosen).

    Args:
        chosen: Their places in `inputs.detections`. All of a picture and category, or none: they
            compete for the objects.
        size: The size of the objects that count.
    """
    evaluator = _evaluator(inputs, inputs.detections[chosen])
    params = evaluator.params
    params.area_rng, params.area_rng_lbl = [list(AREAS[size])], [size]
    evaluator.params = params
    evaluator.evaluate()
    # There are tens of thousands of short lists: joined first, and made into arrays once.
    ids: list[int] = []
    matched: list[list[bool]] = [[] for _ in range(THRESHOLDS)]
    ignored: list[list[bool]] = [[] for _ in range(THRESHOLDS)]
    for one in evaluator.eval_imgs:
        if one is None or not one["dtIds"]:
            continue
        ids += one["dtIds"]
        for rows, found in ((matched, one["dtMatched"]), (ignored, one["dtIgnore"])):
            for row, more in zip(rows, found, strict=True):
                row += more
    verdicts = np.zeros((THRESHOLDS, len(chosen)), dtype=np.uint8)
    places = np.array(ids, dtype=np.int64) - 1
    verdicts[:, places] = np.where(ignored, 2, np.array(matched, dtype=np.uint8))
    return verdicts


def _evaluator(inputs: Inputs, detections: npt.NDArray[np.float64]) -> hotcoco.COCOeval:
    objects = inputs.objects
    truth = hotcoco.COCO.from_arrays(
        [{"id": number} for number in range(1, len(inputs.pictures.ids) + 1)],
        [
            {"id": number, "name": inputs.names[category_id]}
            for number, category_id in enumerate(inputs.categories.ids, 1)
        ],
        objects.pictures,
        objects.categories,
        objects.boxes,
        area=objects.areas,
        iscrowd=objects.crowds,
    )
    return hotcoco.COCOeval(truth, truth.load_res(detections), "bbox")
