"""The streaming pass with a device that is only slow: what of its throughput arrives, and memory.

The device sleeps, so that it leaves the CPU free, like an accelerator. It finds a hundred boxes in
every picture, so that postprocessing and writing have work. Some runtimes hold the GIL meanwhile;
such a device sleeps while holding it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _pictures import pictures

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY)]

from _jobs import make_job  # noqa: E402

from bundle.job import Job  # noqa: E402
from bundle.run import run  # noqa: E402
from bundle.runners import Outputs, Runner  # noqa: E402

SIZE = 1216
SLOW_S, SLOW_PICTURES, SLOW_TARGET = 0.25, 60, 0.98
CHIPS = 4
FAST_S, FEW, MANY, MEMORY_TARGET = 0.002, 200, 5000, 50.0


class SleepingRunner(Runner):
    """A device that takes `seconds` for a picture, with or without holding the GIL."""

    def __init__(self, seconds: float, holds_gil: bool) -> None:
        self._seconds = seconds
        self._libc = ctypes.PyDLL(None) if holds_gil else None  # PyDLL does not release the GIL
        random = np.random.default_rng(0)
        corners = np.sort(random.uniform(0, SIZE, (100, 2, 2)), axis=1).reshape(100, 4)
        scores = np.linspace(0.9, 0.06, 100).reshape(100, 1)
        self._boxes = np.hstack([corners, scores]).astype(np.float32)
        self._labels = random.integers(0, 80, 100)

    def describe(self) -> dict[str, Any]:
        return {"runtime": "sleep", "runtime_version": "", "provider": "", "providers": []}

    def run(self, batch: np.ndarray) -> Outputs:
        began = time.perf_counter()
        if self._libc is None:
            time.sleep(self._seconds)
        else:
            self._libc.usleep(int(self._seconds * 1e6))
        elapsed = (time.perf_counter() - began) * 1000
        return Outputs(self._boxes, self._labels, device_ms=elapsed)


def job(paths: list[Path], count: int, model: Path, options: dict[str, Any]) -> Job:
    """`count` pictures: the same files again and again, each time under another id."""
    sizes = [cv2.imread(str(path)).shape[:2] for path in paths]
    items = [
        {
            "id": number,
            "file": str(paths[number % len(paths)]),
            "width": sizes[number % len(paths)][1],
            "height": sizes[number % len(paths)][0],
        }
        for number in range(count)
    ]
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    return make_job(
        Path("/"),
        networks=[{"path": str(model), "sha256": digest}],
        input={
            "name": "input",
            "dtype": "float32",
            "shapes": [[SIZE, SIZE]],
            "resize": [SIZE, SIZE],
        },
        classes=[{"name": f"class {n}", "category_id": n + 1} for n in range(80)],
        pictures={"root": "/", "items": items},
        runner={"name": "sleep", "threads": 1, "options": options},
    )


def measure(count: int, seconds: float, holds_gil: bool, chips: int) -> dict[str, Any]:
    """The record of a pass, whose JSON lines on standard output are discarded."""
    options = {"own_process": holds_gil, "devices": list(range(chips))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        paths, _ = pictures(path)
        (path / "none").write_bytes(b"")
        todo = job(paths, count, path / "none", options)
        with contextlib.redirect_stdout(io.StringIO()):
            return run(todo, str(path / "out"), lambda job: SleepingRunner(seconds, holds_gil))


def in_own_process(
    count: int, seconds: float, *, holds_gil: bool = False, chips: int = 1
) -> dict[str, Any]:
    """The same in a process of its own: peak memory is a process's."""
    command = [sys.executable, __file__, "--count", str(count), "--seconds", str(seconds)]
    command += ["--chips", str(chips)] + ["--holds-gil"] * holds_gil
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, help="one pass over so many pictures, as JSON")
    parser.add_argument("--seconds", type=float, default=FAST_S)
    parser.add_argument("--holds-gil", action="store_true")
    parser.add_argument("--chips", type=int, default=1)
    options = parser.parse_args()
    if options.count:
        record = measure(options.count, options.seconds, options.holds_gil, options.chips)
        print(json.dumps(record))
        return 0

    print("## The streaming pass\n")
    print(f"{SLOW_PICTURES} pictures, one worker. Device only: the sum over the chips.\n")
    print("| device | device only, pictures/s | end to end, pictures/s | share | target |")
    print("| --- | ---: | ---: | ---: | --- |")
    lock = "holds the GIL, in a process of its own"
    for name, seconds, holds_gil, chips in (
        (f"{SLOW_S} s a picture", SLOW_S, False, 1),
        (f"{SLOW_S} s a picture, {lock}", SLOW_S, True, 1),
        (f"{CHIPS} chips, {CHIPS * SLOW_S} s a picture each, {lock}", CHIPS * SLOW_S, True, CHIPS),
    ):
        summary = in_own_process(SLOW_PICTURES, seconds, holds_gil=holds_gil, chips=chips)[
            "summary"
        ]
        device, total = summary["device_ips"], summary["end_to_end_ips"]
        goal = f"{SLOW_TARGET}, {verdict(total / device >= SLOW_TARGET)}"
        print(f"| {name} | {device:.4f} | {total:.4f} | {total / device:.4f} | {goal} |")

    few, many = (in_own_process(count, FAST_S) for count in (FEW, MANY))
    mib = [record["peak_rss_bytes"] / 2**20 for record in (few, many)]
    print(f"\nPeak memory of the process, a device that takes {FAST_S} s:\n")
    print("| pictures | peak MiB | end to end, pictures/s | bound by |")
    print("| ---: | ---: | ---: | --- |")
    for count, record, peak in zip((FEW, MANY), (few, many), mib, strict=True):
        summary = record["summary"]
        rate, bound = summary["end_to_end_ips"], summary["bound_by"]
        print(f"| {count} | {peak:.1f} | {rate:.1f} | {bound} |")
    growth = mib[1] - mib[0]
    goal = verdict(abs(growth) <= MEMORY_TARGET)
    print(f"\nGrowth: {growth:.1f} MiB; target: within {MEMORY_TARGET:.0f} MiB, {goal}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
