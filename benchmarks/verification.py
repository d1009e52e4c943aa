"""How well verification tells correct lowerings from wrong ones.

Networks with random weights are exported, each lowered correctly and with each of the errors of
tests/helpers/planted.py. DEMO_SEEDS seeds of the demo's architecture (50 by default) and R101_SEEDS
of the R101 at 1216 x 1216 (6; 0 leaves it out), five pictures each and one without detections.
The export environment is `.venv-export` or CASCADEPORT_EXPORT_ENV.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import _pictures
from cascadeport.graph import Verification

from tests.helpers import exporting
from tests.helpers.planted import plants

ENVIRONMENT = Path(
    os.environ.get("CASCADEPORT_EXPORT_ENV") or exporting.REPOSITORY / ".venv-export"
)
# The default number of seeds, the shape, and the targets whose lowerings are tried.
NETWORKS = {
    "demo": ("DEMO_SEEDS", 50, (256, 256), ("cpu", "310P3")),
    "cascade_r101_dcn": ("R101_SEEDS", 6, (1216, 1216), ("cpu",)),
}
CORRECT = "none"


def main() -> None:
    if not (ENVIRONMENT / "ready").exists():
        sys.exit("benchmarks/verification.py needs the export environment: make export-env")
    print("## Verification: correct lowerings and planted errors")
    for config, (variable, seeds, shape, targets) in NETWORKS.items():
        count = int(os.environ.get(variable, seeds))
        if count:
            measure(config, count, shape, targets)


def measure(config: str, count: int, shape: tuple[int, int], targets: tuple[str, ...]) -> None:
    """Prints the section of one network."""
    refused: Counter[tuple[str, str]] = Counter()
    within: dict[tuple[str, str], list[str]] = defaultdict(list)
    tried: Counter[tuple[str, str]] = Counter()
    ratios: dict[tuple[str, str], list[float]] = defaultdict(list)
    stray = 0
    unusable = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files, what = _pictures.pictures(folder)
        for seed in range(count):
            chosen = [files[(5 * seed + index) % len(files)] for index in range(5)]
            exported = folder / "export"
            python = ENVIRONMENT / "bin" / "python"
            threads = 1 if config == "demo" else os.cpu_count() or 1
            if exporting.export(python, config, seed, shape, chosen, exported, threads):
                unusable.append(seed)
                continue
            errors = {CORRECT: None, **plants(exporting.labels_of(exported))}
            for target in targets:
                for name, plant in errors.items():
                    report = exporting.tried(exported, folder, target, plant)
                    key = name, target
                    tried[key] += 1
                    refused[key] += not report.passed
                    hidden = unaffected(report)
                    if name == CORRECT:
                        collect(report, ratios)
                        stray += sum(bool(one.missing or one.extra) for one in report.pictures)
                        for problem in report.problems:
                            print(f"seed {seed}, {target}: {problem}", file=sys.stderr)
                    elif hidden:
                        within[key].append(f"seed {seed}: {hidden}")
            print(f"{config} seed {seed}: {dict(refused)}", file=sys.stderr)
    print(
        f"\n### {config}, {shape[0]} x {shape[1]}: {count - len(unusable)} seeds of random "
        f"weights, five each of {what}\n"
    )
    if unusable:
        print(f"The exporter refused the weights of {len(unusable)} more seeds: {unusable}.\n")
    print("| planted error | lowering for | refused | pictures that hide it |")
    print("| --- | --- | ---: | --- |")
    for (name, target), number in tried.items():
        hidden = "; ".join(within[name, target]) or ("" if name == CORRECT else "none")
        print(f"| {name} | {target} | {refused[name, target]} of {number} | {hidden} |")
    print("\nOf the correct lowerings, error in multiples of PyTorch's own noise, per picture:\n")
    print("| | statistic | median | largest |")
    print("| --- | --- | ---: | ---: |")
    for (what, statistic), values in ratios.items():
        print(f"| {what} | {statistic} | {statistics.median(values):.2f} | {max(values):.2f} |")
    print(f"\nPictures of correct lowerings that lost or gained a stray detection: {stray}.")


def unaffected(report: Verification) -> str:
    """The pictures with detections that the error leaves within the limits."""
    names = [one.name for one in report.pictures if one.expected and one.passed]
    return ", ".join(names)


def collect(report: Verification, ratios: dict[tuple[str, str], list[float]]) -> None:
    """Adds the ratios of a report's pictures."""
    for picture in report.pictures:
        for what, measure in (("boxes", picture.boxes), ("scores", picture.scores)):
            for statistic, ratio in zip(("median", "p90", "max"), measure.ratio, strict=True):
                if ratio is not None:
                    ratios[what, statistic].append(ratio)


if __name__ == "__main__":
    main()
