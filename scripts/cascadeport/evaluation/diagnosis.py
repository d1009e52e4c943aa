"""diagnose: right and wrong detections and missed objects, picture by picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cascadeport.evaluation import fast
from cascadeport.evaluation.coco_files import load

Verdict = Literal["right", "wrong", "ignored", "found", "missed", "crowd"]


@dataclass(frozen=True)
class Marked:
    """A box and its verdict.

    Args:
        verdict: For a detection `right`, `wrong`, or `ignored` (it matches a crowd); for an object
            `found`, `missed`, or `crowd`.
        box: x, y, width, height in pixels of the picture.
        category_id: The category's id in the data set.
        category: The category's name.
        score: The detection's score; None for an object.
    """

    verdict: Verdict
    box: tuple[float, float, float, float]
    category_id: int
    category: str
    score: float | None = None


def diagnose(
    annotations: Path,
    detections: Path,
    image_ids: Sequence[int],
    *,
    score_threshold: float = 0.3,
    iou_threshold: float = 0.5,
) -> dict[int, list[Marked]]:
    """Marks every object and every detection of at least `score_threshold`, by COCO's matching.

    Matching goes by descending score, so leaving out low scores does not change other matches. An
    object that only a low score matches is `missed`.

    Raises:
        CascadeportError: See `cascadeport.evaluation.coco_files.load`.
    """
    inputs = load(annotations, detections, image_ids)
    found = fast.run(inputs).image_diagnostics(iou_threshold, score_threshold)
    marked: dict[int, list[Marked]] = {image_id: [] for image_id in inputs.pictures.ids}
    matched = set()
    boxes = inputs.detections
    for index in range(len(boxes)):
        picture, x, y, width, height, score, category = boxes[index].tolist()
        if score < score_threshold:
            continue
        status = found["dt_status"].get(index + 1)
        verdict: Verdict = "ignored"
        if status == "tp":
            verdict = "right"
            matched.add(found["dt_match"][index + 1])
        elif status == "fp":
            verdict = "wrong"
        category_id = inputs.categories.ids[int(category) - 1]
        marked[inputs.pictures.ids[int(picture) - 1]].append(
            Marked(verdict, (x, y, width, height), category_id, inputs.names[category_id], score)
        )
    objects = inputs.objects
    for index, (picture, category, crowd) in enumerate(
        zip(objects.pictures, objects.categories, objects.crowds, strict=True)
    ):
        if crowd:
            verdict = "crowd"
        else:
            verdict = "found" if index + 1 in matched else "missed"
        x, y, width, height = objects.boxes[index].tolist()
        category_id = inputs.categories.ids[category - 1]
        marked[inputs.pictures.ids[picture - 1]].append(
            Marked(verdict, (x, y, width, height), category_id, inputs.names[category_id])
        )
    return marked
