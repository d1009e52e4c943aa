"""Evaluation of 5,000 pictures with 100 detections each: for the record, and for every table.

All start from the same two files and end with the 12 numbers; they take turns. For the record both
evaluators run; for a table hotcoco alone, which must agree with the numbers that were kept.
The scenes are random: 7.3 objects in a picture on average, 80 categories of falling frequency,
sizes as log-normal as COCO's, crowds, detections jittered from objects and false alarms.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts")]

from cascadeport import evaluation  # noqa: E402

WIDTH, HEIGHT, CATEGORIES = 640, 480, 80


def write_scenes(folder: Path, images: int, detections: int) -> tuple[Path, Path]:
    """Writes annotations and detections; the same for every run."""
    random = np.random.default_rng(0)
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        here = []
        for _ in range(int(random.poisson(7.3))):
            side = np.exp(random.normal(4.2, 1.0))
            width, height = np.minimum(side * np.exp(random.normal(0, 0.3, 2)), (600, 440))
            x, y = random.uniform(0, WIDTH - width), random.uniform(0, HEIGHT - height)
            category = 1 + min(CATEGORIES - 1, int(random.geometric(0.08)) - 1)
            box = [float(value) for value in (x, y, width, height)]
            here.append((box, category))
            truth.append(
                {
                    "id": len(truth) + 1,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": 0.6 * box[2] * box[3],
                    "iscrowd": int(random.random() < 0.012),
                }
            )
        for _ in range(detections):
            if here and random.random() < 0.4:
                (x, y, width, height), category = here[int(random.integers(len(here)))]
                shift, growth = random.normal(0, 0.1, 2), np.exp(random.normal(0, 0.1, 2))
                box = [x + shift[0] * width, y + shift[1] * height, *(growth * (width, height))]
                if random.random() < 0.15:
                    category = int(random.integers(1, CATEGORIES + 1))
                score = random.beta(2, 2)
            else:
                box = [*random.uniform(0, (600, 440)), *np.exp(random.normal(4, 1, 2))]
                category, score = int(random.integers(1, CATEGORIES + 1)), random.beta(1, 6)
            found.append(
                {
                    "image_id": image,
                    "category_id": category,
                    "bbox": [round(float(value), 2) for value in box],
                    "score": round(float(score), 4),
                }
            )
    document = {
        "images": [
            {"id": image, "width": WIDTH, "height": HEIGHT} for image in range(1, images + 1)
        ],
        "annotations": truth,
        "categories": [{"id": number, "name": str(number)} for number in range(1, CATEGORIES + 1)],
    }
    annotations, results = folder / "annotations.json", folder / "detections.json"
    annotations.write_text(json.dumps(document))
    results.write_text(json.dumps(found))
    return annotations, results


def by_pycocotools(annotations: Path, detections: Path, ids: Sequence[int]) -> list[float]:
    """The 12 numbers by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        evaluator = COCOeval(truth, truth.loadRes(str(detections)), "bbox")
        evaluator.params.imgIds = list(ids)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [float(value) for value in evaluator.stats]


class ByCascadeport:
    """The 12 numbers by `evaluation.evaluate`, checks of both files included."""

    def __init__(self) -> None:
        self._kept: evaluation.Evaluation | None = None

    def for_the_record(
        self, annotations: Path, detections: Path, ids: Sequence[int]
    ) -> list[float]:
        """By both evaluators."""
        self._kept = evaluation.evaluate(annotations, detections, ids)
        return _numbers(self._kept)

    def for_a_table(self, annotations: Path, detections: Path, ids: Sequence[int]) -> list[float]:
        """By the fast one, beside what was kept."""
        return _numbers(evaluation.evaluate(annotations, detections, ids, self._kept))


def _numbers(done: evaluation.Evaluation) -> list[float]:
    return [-1.0 if value is None else value for value in done.stats.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    arguments = parser.parse_args()
    ours = ByCascadeport()
    ways: dict[str, Callable[[Path, Path, Sequence[int]], list[float]]] = {
        "pycocotools": by_pycocotools,
        "for the record": ours.for_the_record,
        "for a table": ours.for_a_table,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    numbers: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = write_scenes(Path(folder), arguments.pictures, arguments.detections)
        for _ in range(arguments.turns):
            for name, way in ways.items():
                gc.collect()
                began = time.perf_counter()
                numbers[name] = way(*files, range(1, arguments.pictures + 1))
                seconds[name].append(time.perf_counter() - began)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    difference = max(
        abs(a - b)
        for way in ("for the record", "for a table")
        for a, b in zip(numbers["pycocotools"], numbers[way], strict=True)
    )
    print("## Evaluation\n")
    print(
        f"{arguments.pictures} pictures, {arguments.detections} detections each, "
        f"{CATEGORIES} categories; from the two files to the 12 numbers, in turns, "
        f"{arguments.turns} each.\n"
    )
    print("| | median s | all s |\n| --- | ---: | --- |")
    for name, values in seconds.items():
        print(f"| {name} | {middle[name]:.2f} | {', '.join(f'{one:.2f}' for one in values)} |")
    ratio = middle["pycocotools"] / middle["for a table"]
    print(
        f"\nFor a table {ratio:.1f} times as fast as pycocotools (target: at least 5, and less "
        f"than 15 s); largest difference among the 12 numbers {difference:.1e} (target: at most "
        "1e-9)."
    )


if __name__ == "__main__":
    main()
