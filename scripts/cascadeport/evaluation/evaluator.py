"""The evaluator that this package uses: hotcoco, a port of pycocotools to Rust."""

from __future__ import annotations

import contextlib
import io

import hotcoco

from cascadeport.evaluation.coco_files import Inputs

NAME = "hotcoco"
VERSION = hotcoco.__version__


def run(inputs: Inputs) -> hotcoco.COCOeval:
    """Matches, accumulates and summarises boxes according to COCO."""
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
    evaluator = hotcoco.COCOeval(truth, truth.load_res(inputs.detections), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    # Only `summarize` computes the 12 numbers, and it prints them; standard output is the user's.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.summarize()
    return evaluator
