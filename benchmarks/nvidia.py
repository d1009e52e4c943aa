"""An NVIDIA GPU against the CPU: parity, pictures per second, and where the nodes ran.

With the demo, and with the R101 where it can be exported. Without a GPU nothing is run, and it says
so.

The runs are those of `make all TARGET=T4`, in the target's own image, once in float32 and once in
float16; each is compared with `TARGET=cpu`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "scripts")]

from cascadeport.graph.matching import Detections, Matching, match  # noqa: E402

TITLE = "## An NVIDIA GPU against the CPU\n"
SEED, PICTURES = 1, 16
EXPORT = REPOSITORY / ".venv-export" / "ready"


def main() -> None:
    name = gpu()
    print(TITLE)
    if name is None:
        print("Not run: nvidia-smi finds no GPU on this machine.")
        return
    # The R101 on the demo's pictures: its speed and parity are what counts.
    models = {"demo": ["--model", "demo", "--data", "demo"]}
    if EXPORT.exists():
        models[f"R101, random weights, seed {SEED}"] = [
            "--model", "cascade_r101_dcn", "--data", "demo", "--random-weights", str(SEED),
            "--limit", str(PICTURES),
        ]  # fmt: skip
    print(f"On {name}; the table of a T4 it is not, unless that is its name.\n")
    print(
        "| model | precision | pictures/s on the device | end to end | copies, ms | nodes | "
        "detections matched | boxes, median px | max | scores, max |"
    )
    print("| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    for title, words in models.items():
        with tempfile.TemporaryDirectory() as folder:
            reference = run(Path(folder) / "cpu", "cpu", words)
            for precision in ("float32", "float16"):
                more = [] if precision == "float32" else ["--precision", precision]
                found = run(Path(folder) / precision, "T4", [*words, *more])
                print(row(title, precision, reference, found))


def gpu() -> str | None:
    """The GPU's name and driver; None: there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    done = subprocess.run(
        [program, "--query-gpu=name,driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        return None
    device, _, driver = lines[0].rpartition(",")
    return f"{device.strip()}, driver {driver.strip()}"


def run(folder: Path, target: str, words: list[str]) -> Path:
    """The folder of a pass, of one `cascadeport all`."""
    subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "cascadeport", "all", "--target", target,
         "--results", str(folder), *words],
        check=True,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    (found,) = folder.glob("*/*/infer")
    return found


def row(title: str, precision: str, reference: Path, found: Path) -> str:
    """A line of the table."""
    record = json.loads((found / "run.json").read_text(encoding="utf-8"))
    summary, environment = record["summary"], record["environment"]
    copies = [(summary["steps_ms"].get(step) or {}).get("mean") for step in ("h2d", "d2h")]
    nodes = ", ".join(f"{one['nodes']} on {name}" for name, one in environment["nodes"].items())
    pairs = compared(detections(reference), detections(found))
    boxes = np.concatenate([pair.boxes for pair in pairs] or [np.zeros(0)])
    scores = np.concatenate([pair.scores for pair in pairs] or [np.zeros(0)])
    lost = sum(len(pair.missing) + len(pair.extra) for pair in pairs)
    cells = [
        title,
        precision,
        f"{summary['device_ips']:.2f}",
        f"{summary['end_to_end_ips']:.2f}",
        "–" if None in copies else f"{sum(copies):.2f}",
        nodes,
        f"{len(boxes)}, {lost} not",
        f"{np.median(boxes):.1e}" if len(boxes) else "–",
        f"{boxes.max():.1e}" if len(boxes) else "–",
        f"{scores.max():.1e}" if len(boxes) else "–",
    ]
    return f"| {' | '.join(cells)} |"


def detections(folder: Path) -> dict[int, Detections]:
    """Boxes (n,5) and categories (n) of each picture."""
    content: list[dict[str, Any]] = json.loads((folder / "detections.json").read_text())
    grouped: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for one in content:
        grouped[one["image_id"]].append(one)
    return {
        picture: (
            np.array(
                [
                    [x, y, x + w, y + h, one["score"]]
                    for one in found
                    for x, y, w, h in [one["bbox"]]
                ]
            ),
            np.array([one["category_id"] for one in found]),
        )
        for picture, found in grouped.items()
    }


def compared(first: dict[int, Detections], second: dict[int, Detections]) -> list[Matching]:
    """The pairs of every picture in which either run detected something."""
    nothing: Detections = (np.zeros((0, 5)), np.zeros(0, np.int64))
    pictures = sorted({*first, *second})
    return [match(first.get(one, nothing), second.get(one, nothing)) for one in pictures]


if __name__ == "__main__":
    main()
