"""`make all` after set-up: how long it takes from nothing, and when nothing has changed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 3
FIRST_S, SECOND_S = 60.0, 3.0


def run(folders: list[str]) -> float:
    """Seconds of wall time of one `cascadeport all`."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "cascadeport", "all", *folders],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        folders = ["--build", f"{folder}/build", "--results", f"{folder}/results"]
        first = run(folders)
        again = sorted(run(folders) for _ in range(ROUNDS))
        comparison = Path(folder) / "results" / "demo-demo" / "comparison.json"
        row = json.loads(comparison.read_text(encoding="utf-8"))["rows"][0]
    met = {True: "met", False: "MISSED"}
    print(
        f"""## The whole of `make all`

The demo's 200 pictures, from an empty build and results folder to the report: one run. Then the
same command again with nothing changed: {ROUNDS} runs, the median.

| | seconds | target | |
| --- | ---: | ---: | --- |
| everything | {first:.1f} | {FIRST_S:.0f} | {met[first < FIRST_S]} |
| nothing changed | {again[len(again) // 2]:.2f} | {SECOND_S:.0f} | {met[again[-1] < SECOND_S]} |

In that run: mAP {row["map"]:.4f}, {row["device_ips"]:.1f} pictures/s on the device alone,
{row["end_to_end_ips"]:.1f} pictures/s end to end."""
    )


if __name__ == "__main__":
    main()
