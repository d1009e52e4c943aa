"""Intervals of three passes over as many pictures as val2017 has: from the files to intervals.

The first pass is that of `evaluate`; the others are the same with boxes and scores moved at random.
Each is matched, its accuracy over 1,000 draws is computed, and two are compared with the first. The
same draws evaluated one by one would take a thousand evaluations: one of them is timed as well.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "scripts")]

from cascadeport import evaluation  # noqa: E402
from cascadeport.evaluation import coco_files, fast  # noqa: E402
from cascadeport.results import intervals  # noqa: E402
from evaluate import write_scenes  # noqa: E402


def perturbed(detections: Path, seed: int, spread: float) -> Path:
    """The same detections, boxes and scores moved by a share of themselves."""
    random = np.random.default_rng(seed)
    found = json.loads(detections.read_text())
    for one, shift, factor in zip(
        found,
        random.normal(0, spread, (len(found), 2)),
        np.exp(random.normal(0, spread, len(found))),
        strict=True,
    ):
        x, y, width, height = one["bbox"]
        one["bbox"] = [x + shift[0] * width, y + shift[1] * height, width, height]
        one["score"] = min(1.0, one["score"] * float(factor))
    path = detections.with_name(f"detections-{seed}.json")
    path.write_text(json.dumps(found))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100)
    arguments = parser.parse_args()
    ids = range(1, arguments.pictures + 1)
    with tempfile.TemporaryDirectory() as folder:
        truth, first = write_scenes(Path(folder), arguments.pictures, arguments.detections)
        passes = [first, perturbed(first, 1, 0.01), perturbed(first, 2, 0.03)]
        took = {"read and match": 0.0, "draws": 0.0, "intervals": 0.0}
        began = time.perf_counter()
        drawn = intervals.draw(arguments.pictures)
        accuracies = []
        for path in passes:
            start = time.perf_counter()
            matches = evaluation.match(truth, path, ids)
            middle = time.perf_counter()
            accuracies.append(intervals.accuracies(matches, drawn))
            took["read and match"] += middle - start
            took["draws"] += time.perf_counter() - middle
        start = time.perf_counter()
        found = [intervals.paired(one, accuracies[0]) for one in accuracies[1:]]
        took["intervals"] = time.perf_counter() - start
        whole = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        inputs = coco_files.load(truth, first, ids)
        start = time.perf_counter()
        fast.run(inputs)
        once = time.perf_counter() - start
    print("## Intervals over pictures\n")
    print(
        f"Three passes, {arguments.pictures} pictures, {arguments.detections} detections each; "
        f"{intervals.DRAWS:,} draws; from the files to the intervals of two differences.\n"
    )
    print("| | s |\n| --- | ---: |")
    for name, seconds in took.items():
        print(f"| {name} | {seconds:.1f} |")
    print(f"| all | {whole:.1f} |\n")
    for number, one in enumerate(found, 1):
        assert one.map is not None
        print(f"- pass {number}: {100 * one.map.low:+.2f} to {100 * one.map.high:+.2f} points")
    ratio = 3 * intervals.DRAWS * once / took["draws"]
    print(
        f"\nPeak memory {peak:.2f} GiB (target: 2), all in {whole:.0f} s (target: 60). Evaluating "
        f"each draw by the fast evaluator takes {once:.2f} s a draw: {ratio:.0f} times as long."
    )


if __name__ == "__main__":
    main()
