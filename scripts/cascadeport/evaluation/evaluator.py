"""The evaluator behind this package: hotcoco, a port of pycocotools to Rust."""

from __future__ import annotations

import contextlib
import io

import hotcoco

from cascadeport.evaluation.inputs import Inputs

NAME = "hotcoco"
VERSION = hotcoco.__version__


def run(inputs: Inputs) -> hotcoco.COCOeval:
    """Matches, accumulates and summarises boxes by COCO's rules."""
    objects = inputs.objects
    truth = hotcoco.COCO.from_arrays(
        [{"id": place} for place in range(1, len(inputs.images.ids) + 1)],
        [
            {"id": place, "name": inputs.names[number]}
            for place, number in enumerate(inputs.categories.ids, 1)
        ],
        objects.images,
        objects.categories,
        objects.boxes,
        area=objects.areas,
        iscrowd=objects.crowds,
    )
    evaluator = hotcoco.COCOeval(truth, truth.load_res(inputs.detections), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    # Only `summarize` fills the 12 numbers, and it prints them; standard output is the user's.
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.summarize()
    return evaluator
