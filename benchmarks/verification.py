"""How well verification tells correct lowerings from wrong ones.

Networks with random weights are exported, each lowered for onnxruntime, OpenVINO and Ascend
(float32 arithmetic), correctly and with each of the errors of tests/helpers/planted.py: DEMO_SEEDS
seeds of the demo's architecture (50 by default) and R101_SEEDS of the R101 (6; 0 leaves it out),
five pictures each and one without detections. The R101 is run at R101_SIZE x R101_SIZE (608): with
a quarter of the pixels of 1216 a seed takes minutes, and the network is the same. It takes hours
all the same: each seed is kept in VERIFICATION_RECORDS (benchmarks/records/verification, where the
R101's are under version control), and one that is there is not run again.

Of the R101, a correct lowering runs every picture, one with an error a picture after another until
one shows it.

The export environment is `.venv-export` or CASCADEPORT_EXPORT_ENV; OpenVINO's is
`cascadeport install --target openvino`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import _pictures
from cascadeport.base.files import write_json
from cascadeport.core.environment import PythonEnvironment
from cascadeport.graph import Verification, verify

from tests.helpers import exporting
from tests.helpers.planted import Plant, plants

HERE = Path(__file__).resolve().parent
REPOSITORY = exporting.REPOSITORY
ENVIRONMENT = Path(os.environ.get("CASCADEPORT_EXPORT_ENV") or REPOSITORY / ".venv-export")
RECORDS = Path(os.environ.get("VERIFICATION_RECORDS") or HERE / "records" / "verification")
R101_SIZE = int(os.environ.get("R101_SIZE") or 608)
# The number of seeds, the shape, and whether errors are tried on every picture.
NETWORKS = {
    "demo": (int(os.environ.get("DEMO_SEEDS") or 50), (256, 256), True),
    "cascade_r101_dcn": (int(os.environ.get("R101_SEEDS") or 6), (R101_SIZE, R101_SIZE), False),
}
TARGETS = {"cpu": "onnxruntime", "openvino": "OpenVINO", "310P3": "Ascend"}
CORRECT = "none"


def main() -> None:
    if not (ENVIRONMENT / "ready").exists():
        sys.exit("benchmarks/verification.py needs the export environment: make export-env")
    lock = REPOSITORY / "images" / "openvino" / "requirements.lock"
    if not PythonEnvironment("openvino", lock).is_installed:
        sys.exit("benchmarks/verification.py needs OpenVINO: cascadeport install --target openvino")
    RECORDS.mkdir(parents=True, exist_ok=True)
    print("## Verification: correct lowerings and planted errors")
    for config, (count, shape, thorough) in NETWORKS.items():
        records = []
        for seed in range(count):
            path = RECORDS / f"{config}-{seed}.json"
            if not path.exists():
                write_json(path, measure(config, seed, shape, thorough), indent=1)
                print(f"{config}: {seed + 1}/{count} seeds", file=sys.stderr)
            records.append(json.loads(path.read_text(encoding="utf-8")))
        if count:
            section(config, shape, records)


def measure(config: str, seed: int, shape: tuple[int, int], thorough: bool) -> dict[str, Any]:
    """One network: what became of each lowering of it, correct or not."""
    record: dict[str, Any] = {"seed": seed, "commit": commit(), "tried": []}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files, record["pictures"] = _pictures.pictures(folder)
        chosen = [files[(5 * seed + index) % len(files)] for index in range(5)]
        exported = folder / "export"
        python = ENVIRONMENT / "bin" / "python"
        threads = 1 if config == "demo" else os.cpu_count() or 1
        record["refused"] = exporting.export(python, config, seed, shape, chosen, exported, threads)
        if record["refused"]:
            return record
        errors = {CORRECT: None, **plants(exporting.labels_of(exported))}
        for target in TARGETS:
            for name, plant in errors.items():
                every = plant is None or thorough
                found = (tried if every else tried_until_refused)(exported, folder, target, plant)
                record["tried"].append({"target": target, "error": name, **found})
    return record


def tried(exported: Path, folder: Path, target: str, plant: Plant | None) -> dict[str, Any]:
    """A lowering on every picture."""
    report = exporting.tried(exported, folder, target, plant)
    return {
        "refused": not report.passed,
        "pictures": len(report.pictures),
        "hidden_in": [one.name for one in report.pictures if one.expected and one.passed],
        "stray": sum(one.is_stray for one in report.pictures),
        "problems": report.problems,
        "ratios": ratios(report) if plant is None else [],
    }


def tried_until_refused(
    exported: Path, folder: Path, target: str, plant: Plant | None
) -> dict[str, Any]:
    """A lowering on one picture after another, until one shows that it is wrong."""
    hidden: list[str] = []
    session = exporting.lowered(exported, folder, target, plant)
    pictures = json.loads((exported / "export.json").read_text())["pictures"]
    for count, picture in enumerate(pictures, 1):
        one = exporting.part(exported, folder / "part", [picture["name"]])
        (comparison,) = verify(session, "lowered.onnx", one).pictures
        if not comparison.passed:
            return {"refused": True, "pictures": count, "hidden_in": hidden}
        if comparison.expected:
            hidden.append(picture["name"])
    return {"refused": False, "pictures": len(pictures), "hidden_in": hidden}


def ratios(report: Verification) -> list[tuple[str, str, float]]:
    """What was compared, the statistic and its multiple of the noise, for each picture."""
    return [
        (what, statistic, ratio)
        for picture in report.pictures
        for what, measure in (("boxes", picture.boxes), ("scores", picture.scores))
        for statistic, ratio in zip(("median", "p90", "max"), measure.ratio, strict=True)
        if ratio is not None
    ]


def section(config: str, shape: tuple[int, int], records: list[dict[str, Any]]) -> None:
    """Prints the section of one network."""
    usable = [record for record in records if not record["refused"]]
    commits = sorted({record["commit"] for record in records})
    print(
        f"\n### {config}, {shape[0]} x {shape[1]}: {len(usable)} seeds of random weights, five "
        f"each of {records[0]['pictures']}\n\nTaken at {', '.join(commits)}.\n"
    )
    unusable = [record["seed"] for record in records if record["refused"]]
    if unusable:
        print(f"The exporter refused the weights of {len(unusable)} more seeds: {unusable}.\n")
    rows: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for record in usable:
        for one in record["tried"]:
            rows[one["error"], one["target"]].append((record["seed"], one))
    print("| planted error | lowering for | refused | pictures run | pictures that hide it |")
    print("| --- | --- | ---: | ---: | --- |")
    for (name, target), tries in rows.items():
        hidden = [
            f"seed {seed}: {', '.join(one['hidden_in'])}" for seed, one in tries if one["hidden_in"]
        ]
        shown = "" if name == CORRECT else "; ".join(hidden) or "none"
        print(
            f"| {name} | {TARGETS[target]} | {sum(one['refused'] for _, one in tries)} of "
            f"{len(tries)} | {sum(one['pictures'] for _, one in tries)} | {shown} |"
        )
    correct = [one for (name, _), tries in rows.items() if name == CORRECT for _, one in tries]
    print("\nOf the correct lowerings, error in multiples of PyTorch's own noise, per picture:\n")
    print("| | statistic | median | largest |")
    print("| --- | --- | ---: | ---: |")
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in correct:
        for what, statistic, ratio in one["ratios"]:
            values[what, statistic].append(ratio)
    for (what, statistic), found in values.items():
        print(f"| {what} | {statistic} | {statistics.median(found):.2f} | {max(found):.2f} |")
    stray = sum(one["stray"] for one in correct)
    print(f"\nPictures of correct lowerings that lost, gained or moved a stray detection: {stray}.")
    for one in correct:
        for problem in one["problems"]:
            print(f"- refused, {TARGETS[one['target']]}: {problem}")


def commit() -> str:
    """The commit that is measured."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


if __name__ == "__main__":
    main()
