"""Three rows of val2017's size in one table: intervals, drift, and the report.

The data set is 5,000 plain pictures with drawn boxes; each row's detections are the boxes moved at
random, with others of low scores, 100 in every picture. The rows are finished and evaluated before
the clock starts, as `make all` leaves them. Then everything is computed as for every table: rows
from their artifacts, verdicts with intervals, drift with its drawings, the report.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "scripts")]

from cascadeport import report  # noqa: E402
from cascadeport.datasets import Dataset  # noqa: E402
from cascadeport.report import Beside  # noqa: E402
from cascadeport.results import comparison, drift, gate  # noqa: E402

from tests.helpers import finished  # noqa: E402

ROWS = {"cpu": 0.02, "openvino": 0.021, "310P3": 0.03}


def detections(of: Dataset, most: int, seed: int, spread: float) -> list[dict[str, Any]]:
    """`most` detections in every picture: its objects, moved, and others of low scores."""
    random = np.random.default_rng(1)
    moved = np.random.default_rng(seed)
    objects: dict[int, list[Any]] = {item.id: [] for item in of.items}
    for one in json.loads(of.annotations_path.read_text(encoding="utf-8"))["annotations"]:
        objects[one["image_id"]].append((one["bbox"], one["category_id"]))
    found = []
    for item in of.items:
        here = objects[item.id][:most]
        boxes = np.array([box for box, _ in here], np.float64).reshape(-1, 4)
        others = most - len(here)
        size = np.array([item.width, item.height])
        corner = random.uniform(0, 0.8, (others, 2)) * size
        edges = random.uniform(0.05, 0.2, (others, 2)) * size
        boxes = np.vstack([boxes, np.hstack([corner, edges])])
        scores = np.r_[random.uniform(0.3, 1, len(here)), random.uniform(0.05, 0.3, others)]
        categories = [category for _, category in here]
        categories += random.choice([2, 3, 5, 8], others).tolist()
        boxes[:, :2] += moved.normal(0, spread, (most, 2)) * boxes[:, 2:]
        scores *= np.exp(moved.normal(0, spread, most))
        found += [
            {"image_id": item.id, "category_id": category, "bbox": box, "score": score}
            for category, box, score in zip(
                categories, boxes.round(4).tolist(), scores.clip(0, 1).tolist(), strict=True
            )
        ]
    return found


def rows(folder: Path, pictures: int, most: int) -> Dataset:
    """Finishes the three rows."""
    of = finished.dataset(folder / "data", pictures=pictures)
    for seed, (target, spread) in enumerate(ROWS.items()):
        finished.finish(folder, of, target=target, title=target, milliseconds=20.0 + seed)
        path = folder / target / "infer" / "detections.json"
        path.write_text(json.dumps(detections(of, most, seed, spread)), encoding="utf-8")
        finished.reevaluate(folder, of, target)
        print(f"{target} is finished", file=sys.stderr)
    return of


def table(folder: Path, of: Dataset) -> dict[str, float]:
    """Computes and writes everything; returns the seconds of each part."""
    took: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        took[name], clock = now - clock, now

    known = finished.known(folder, of)
    found = comparison.collect(folder, known, tuple(ROWS))
    lap("rows from their artifacts")
    made = gate.judge(comparison.compare(found), found, (), known)
    lap("verdicts with intervals")
    results = {one.target: one.result for one in found if one.result is not None}
    drifts = drift.update(folder, comparison.comparable(made.rows, results), of)
    lap("drift and drawings")
    out = folder / "comparison.html"
    report.render(list(results.values()), made, out, of, Beside(drift=drifts))
    lap("report")
    assert [row.status for row in made.rows] == ["measured"] * len(ROWS), made.rows
    return took


def first_paint(page: Path) -> float | None:
    """Seconds from the page's address to its first contentful paint; None without Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        return None
    from playwright import sync_api

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(page.as_uri())
        milliseconds = opened.evaluate(
            """new Promise((told) => new PerformanceObserver((list) => {
                const found = list.getEntriesByName("first-contentful-paint")[0];
                if (found) told(found.startTime);
            }).observe({ type: "paint", buffered: true }))"""
        )
        browser.close()
    return float(milliseconds) / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        of = rows(folder, arguments.pictures, arguments.detections)
        took = table(folder, of)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        page = folder / "comparison.html"
        megabytes, painted = page.stat().st_size / 1e6, first_paint(page)
    whole = sum(took.values())
    print("## Three rows of val2017's size in one table\n")
    print(
        f"{arguments.pictures} pictures, {arguments.detections} detections in each, three rows.\n"
    )
    print("| | s |\n| --- | ---: |")
    for name, seconds in took.items():
        print(f"| {name} | {seconds:.1f} |")
    print(f"| all | {whole:.1f} |\n")
    shown = "not measured (no Chromium)" if painted is None else f"{painted:.2f} s"
    print(
        f"All in {whole:.0f} s (target: 60); peak memory {peak:.2f} GiB, with making the rows "
        f"(target: 2). The report has {megabytes:.1f} MB (target: 15); first paint after {shown} "
        "(target: 2 s)."
    )


if __name__ == "__main__":
    main()
