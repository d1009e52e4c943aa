"""diagnose: which detections are right or wrong and what was missed, picture by picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cascadeport.evaluation import evaluator as engine
from cascadeport.evaluation.inputs import load

Verdict = Literal["right", "wrong", "ignored", "found", "missed", "crowd"]


@dataclass(frozen=True)
class Marked:
    """A box and what became of it.

    Args:
        verdict: Of a detection: `right`, `wrong`, or `ignored` (it lies on a crowd). Of an object:
            `found`, `missed`, or `crowd`.
        box: x, y, width, height in pixels of the picture.
        category_id: As in the data set.
        category: Its name.
        score: Of a detection; None for an object.
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

    Matching goes by falling score, so leaving out the low scores changes no match of the others;
    an object that only a low score found is `missed`.

    Raises:
        CascadeportError: See `cascadeport.evaluation.inputs.load`.
    """
    inputs = load(annotations, detections, image_ids)
    found = engine.run(inputs).image_diagnostics(iou_threshold, score_threshold)
    marked: dict[int, list[Marked]] = {number: [] for number in inputs.images.ids}
    matched = set()
    boxes = inputs.detections
    for place in range(len(boxes)):
        image, x, y, width, height, score, category = boxes[place].tolist()
        if score < score_threshold:
            continue
        status = found["dt_status"].get(place + 1)
        verdict: Verdict = "ignored"
        if status == "tp":
            verdict = "right"
            matched.add(found["dt_match"][place + 1])
        elif status == "fp":
            verdict = "wrong"
        number = inputs.categories.ids[int(category) - 1]
        marked[inputs.images.ids[int(image) - 1]].append(
            Marked(verdict, (x, y, width, height), number, inputs.names[number], score)
        )
    objects = inputs.objects
    for place, (image, category, crowd) in enumerate(
        zip(objects.images, objects.categories, objects.crowds, strict=True)
    ):
        if crowd:
            verdict = "crowd"
        else:
            verdict = "found" if place + 1 in matched else "missed"
        x, y, width, height = objects.boxes[place].tolist()
        number = inputs.categories.ids[category - 1]
        marked[inputs.images.ids[image - 1]].append(
            Marked(verdict, (x, y, width, height), number, inputs.names[number])
        )
    return marked
