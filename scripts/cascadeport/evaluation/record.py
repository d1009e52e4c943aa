"""The evaluator of record: pycocotools, which the field trusts. It takes minutes for val2017."""

from __future__ import annotations

import contextlib
import io
from importlib import metadata
from typing import TYPE_CHECKING, Any

from cascadeport.evaluation.coco_files import Inputs
from cascadeport.evaluation.result import Evaluator

if TYPE_CHECKING:
    from pycocotools.coco import COCO

EVALUATOR = Evaluator(name="pycocotools", version=metadata.version("pycocotools"))


def run(inputs: Inputs) -> Any:
    """Matches, accumulates and summarises boxes: a `pycocotools.cocoeval.COCOeval` that is done."""
    # Only here: most tables are written without it, and it is slow to import.
    from pycocotools.cocoeval import COCOeval

    # It prints what it does; standard output is the user's.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(_truth(inputs), _found(inputs), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def _truth(inputs: Inputs) -> COCO:
    objects = inputs.objects
    rows = zip(
        objects.pictures.tolist(),
        objects.categories.tolist(),
        objects.boxes.tolist(),
        objects.areas.tolist(),
        objects.crowds.tolist(),
        strict=True,
    )
    return _dataset(
        inputs,
        [
            {
                "id": number,
                "image_id": picture,
                "category_id": category,
                "bbox": box,
                "area": area,
                "iscrowd": crowd,
            }
            for number, (picture, category, box, area, crowd) in enumerate(rows, 1)
        ],
    )


def _found(inputs: Inputs) -> COCO:
    # Not its `loadRes`: that fails without detections. These are the fields that it would add.
    return _dataset(
        inputs,
        [
            {
                "id": number,
                "image_id": int(row[0]),
                "category_id": int(row[6]),
                "bbox": row[1:5],
                "area": row[3] * row[4],
                "score": row[5],
                "iscrowd": 0,
            }
            for number, row in enumerate(inputs.detections.tolist(), 1)
        ],
    )


def _dataset(inputs: Inputs, annotations: list[dict[str, Any]]) -> COCO:
    from pycocotools.coco import COCO

    made = COCO()
    # Boxes need no more of the format than this.
    dataset: Any = {
        "images": [{"id": number} for number in range(1, len(inputs.pictures.ids) + 1)],
        "categories": [
            {"id": number, "name": inputs.names[category_id]}
            for number, category_id in enumerate(inputs.categories.ids, 1)
        ],
        "annotations": annotations,
    }
    made.dataset = dataset
    made.createIndex()
    return made
