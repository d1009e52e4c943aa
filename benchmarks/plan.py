"""Estimates beside real sharded runs: a core of this machine is a device.

Besides the clock's seconds there are processor seconds, which other work on the machine does not
lengthen: those of the core that worked longest, beside an estimate from the same figure, the
processor seconds of a picture and of a start on one core alone.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

from cascadeport.estimate import model
from cascadeport.estimate.figures import Figure, Known, Rate, Sizes
from cascadeport.estimate.model import Question

REPOSITORY = Path(__file__).resolve().parent.parent
SHARDS = (2, 4, 8)
ALONE = 60


class Took(NamedTuple):
    """Seconds by the clock, and processor seconds of the core that worked longest."""

    clock: float
    processor: float


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        places = [f"--results={folder / 'results'}", f"--build={REPOSITORY / 'build'}"]
        options = [f"--limit={ALONE}", "--threads=1", *places]
        # One device: one core, which does everything.
        alone = [sys.executable, "-m", "cascadeport", "all", "--target=cpu", *options]
        words = ["taskset", "-c", str(cores[0]), *alone]
        subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
        (row,) = folder.glob("results/*/cpu*")
        result = json.loads((row / "result.json").read_text())
        job, count = _whole(row / "infer" / "job.json", folder)
        each, start = _processor_seconds(result, job, folder, cores[0])
        busy = Figure("core", "", "measured", "", Rate(1 / each), startup_s=start)
        print("## Estimates\n")
        print(
            f"The demo's {count} pictures in shards on {len(cores)} devices, each of which is one "
            f"core of this machine. The figures that estimates are from were measured on one of "
            f"them alone, on {ALONE} pictures: {result['end_to_end_ips']:.2f} pictures per second "
            f"end to end and {result['run']['startup_s']:.1f} s to start by the clock; "
            f"{1 / each:.2f} pictures per processor second and {start:.1f} processor seconds to "
            "start.\n"
        )
        print(
            "| shards | estimated | with the slowest and the fastest pass | measured | ratio "
            "| estimated, processor | measured, processor | ratio |"
        )
        print("|" + " ---: |" * 8)
        for shards in SHARDS:
            wanted = _estimated(row.name, count, shards, len(cores), options)
            question = Question(count, {"core": len(cores)}, shards)
            known = Known({"core": busy}, None, Sizes(), ())
            processor = model.estimate(question, known).duration.value
            took = _sharded(job, folder / f"out-{shards}", shards, cores)
            print(
                f"| {shards} | {wanted['value']:.1f} s | {wanted['low']:.1f} to "
                f"{wanted['high']:.1f} s | {took.clock:.1f} s | "
                f"{took.clock / wanted['value']:.2f} | {processor:.1f} s | "
                f"{took.processor:.1f} s | {took.processor / processor:.2f} |"
            )
    print(
        "\nOther work on the machine is in the clock's seconds, of the figure and of the run, and "
        "need not be the same in both. Of processor seconds it takes none, but for caches that it "
        "empties."
    )


def _estimated(
    name: str, count: int, shards: int, devices: int, options: list[str]
) -> dict[str, float]:
    """The duration as the command line says it."""
    ask = ["plan", f"--pictures={count}", f"--devices={name}={devices}", f"--shards={shards}"]
    command = [sys.executable, "-m", "cascadeport", *ask, "--json", *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)["duration_s"]
    return found


def _processor_seconds(
    result: dict[str, Any], job: Path, folder: Path, core: int
) -> tuple[float, float]:
    """Of a picture, by the row's passes; and of a start, by a shard of one picture."""
    conditions, repeats = result["conditions"], result["run"]["summary"]["repeats"]
    pictures = sum(one["pictures"] for one in repeats)
    each = conditions["own_cores"] * conditions["seconds"] / pictures
    count = len(json.loads(job.read_text())["pictures"]["items"])
    return each, _shard(job, folder / "start", f"1/{count}", core) - each


def _shard(job: Path, out: Path, shard: str, core: int) -> float:
    """Runs a shard; returns its processor seconds."""
    words = ["-m", "bundle", "run", str(job), str(out), "--shard", shard]
    process = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, *words], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def _whole(path: Path, folder: Path) -> tuple[Path, int]:
    """The row's job over all of the demo's pictures, without repeats."""
    job: dict[str, Any] = json.loads(path.read_text())
    root = Path(job["pictures"]["root"])
    (annotations,) = (root.parent / "annotations").glob("*.json")
    images = json.loads(annotations.read_text())["images"]
    job["pictures"]["items"] = [
        {"id": one["id"], "file": one["file_name"], "width": one["width"], "height": one["height"]}
        for one in images
    ]
    job["measure"]["repeats"] = 1
    written = folder / "job.json"
    written.write_text(json.dumps(job))
    return written, len(images)


def _sharded(job: Path, out: Path, shards: int, cores: list[int]) -> Took:
    """Runs all shards, one after the other on each core, and merges them."""
    left = itertools.count(1)
    busy = dict.fromkeys(cores, 0.0)

    def work(core: int) -> None:
        while (index := next(left)) <= shards:
            busy[core] += _shard(job, out, f"{index}/{shards}", core)

    threads = [threading.Thread(target=work, args=(core,)) for core in cores]
    began = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    took = Took(time.perf_counter() - began, max(busy.values()))
    merge = [sys.executable, "-m", "bundle", "merge", str(job), str(out)]
    subprocess.run(merge, stdout=subprocess.DEVNULL, check=True)
    return took


if __name__ == "__main__":
    main()
