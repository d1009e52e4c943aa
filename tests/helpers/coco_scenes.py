"""Random ground truth and detections, and what pycocotools makes of them."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True)
class Scenes:
    """An annotation file, a file of detections, and the pictures that count."""

    annotations: dict[str, Any]
    detections: list[dict[str, Any]]
    image_ids: list[int]

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Writes both files."""
        annotations, detections = folder / "annotations.json", folder / "detections.json"
        annotations.write_text(json.dumps(self.annotations))
        detections.write_text(json.dumps(self.detections))
        return annotations, detections


def scenes(
    seed: int,
    *,
    images: int = 25,
    categories: int = 6,
    objects: int = 6,
    detections: int = 20,
    crowds: float = 0.1,
    without_objects: float = 0.15,
    without_detections: float = 0.1,
    decimals: int = 6,
    gap: int = 1,
    first_id: int = 1,
) -> Scenes:
    """Objects of all sizes; detections jittered from them, exact copies, and false alarms.

    Args:
        seed: Equal seeds give equal scenes.
        objects, detections: At most so many in a picture.
        crowds: The share of crowds.
        without_objects, without_detections: The shares of such pictures.
        decimals: Of the scores: few make many of them equal.
        gap, first_id: Ids are `first_id`, `first_id + gap`, ...
    """
    random = np.random.default_rng(seed)
    category_ids = [first_id + gap * place for place in range(categories)]
    image_ids = [first_id + gap * place for place in range(images)]
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image_id in image_ids:
        here: list[tuple[npt.NDArray[np.float64], int]] = []
        if random.random() >= without_objects:
            for _ in range(int(random.integers(1, objects + 1))):
                # The last category stays without objects.
                category = int(random.choice(category_ids[:-1] or category_ids))
                box = _box(random)
                area = float(box[2] * box[3] * random.choice([1.0, 0.6, 0.3]))
                here.append((box, category))
                truth.append(
                    {
                        "id": first_id + gap * len(truth),
                        "image_id": image_id,
                        "category_id": category,
                        "bbox": box.tolist(),
                        "area": area,
                        "iscrowd": int(random.random() < crowds),
                    }
                )
        if random.random() < without_detections:
            continue
        for _ in range(int(random.integers(1, detections + 1))):
            box, category = _detection(random, here, category_ids)
            found.append(
                {
                    "image_id": image_id,
                    "category_id": category,
                    "bbox": box.tolist(),
                    "score": round(float(random.random()), decimals),
                }
            )
    random.shuffle(found)  # type: ignore[arg-type]
    return Scenes(
        annotations={
            "images": [
                {"id": number, "width": WIDTH, "height": HEIGHT, "file_name": f"{number}.jpg"}
                for number in image_ids
            ],
            "annotations": truth,
            "categories": [{"id": number, "name": f"class {number}"} for number in category_ids],
        },
        detections=found,
        image_ids=image_ids,
    )


def _box(random: np.random.Generator) -> npt.NDArray[np.float64]:
    side = np.exp(random.uniform(np.log(4), np.log(500)))
    width, height = np.minimum(side * random.uniform(0.5, 1.5, 2), (WIDTH - 2, HEIGHT - 2))
    x, y = random.uniform(0, WIDTH - width), random.uniform(0, HEIGHT - height)
    return np.round([x, y, width, height], 2)


def _detection(
    random: np.random.Generator,
    here: list[tuple[npt.NDArray[np.float64], int]],
    category_ids: list[int],
) -> tuple[npt.NDArray[np.float64], int]:
    kind = random.random()
    if not here or kind < 0.4:
        return _box(random), int(random.choice(category_ids))
    box, category = here[int(random.integers(len(here)))]
    if kind > 0.93:
        category = int(random.choice(category_ids))
    if kind < 0.9:
        jitter = random.normal(0, 0.12, 4)
        side = np.concatenate([box[2:], box[2:]])
        box = box + jitter * side
        box[2:] = np.maximum(box[2:], 1)
    return box, category


def pycocotools(given: Scenes, image_ids: list[int] | None = None) -> tuple[Any, Any]:
    """The 12 numbers and the precision array by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(given.annotations)
        truth.createIndex()
        if given.detections:
            found = truth.loadRes(copy.deepcopy(given.detections))
        else:
            found = COCO()
            found.dataset = {**truth.dataset, "annotations": []}
            found.createIndex()
        evaluator = COCOeval(truth, found, "bbox")
        evaluator.params.imgIds = list(image_ids or given.image_ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator.stats, evaluator.eval["precision"]
