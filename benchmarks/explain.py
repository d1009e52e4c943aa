"""`cascadeport explain`: whether it finds planted errors, and how long it takes on the demo.

EXPLAIN_PLANTS seeded errors (30 by default) and EXPLAIN_PAIRS pairs of graphs that compute the same
(10), on the demo's architecture and weights; then the command itself on the demo's 200 pictures, as
a row of the CPU against one of a 310P3.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.helpers import command as run_command
from tests.helpers.explaining import SAME, World, row_of_npu, sentences

REPOSITORY = Path(__file__).resolve().parents[1]
PLANTS = int(os.environ.get("EXPLAIN_PLANTS") or 30)
PAIRS = int(os.environ.get("EXPLAIN_PAIRS") or 10)


def main() -> None:
    print("## explain: planted errors and correct pairs\n")
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        plants(world)
        pairs(world)
    if os.environ.get("EXPLAIN_TIME") != "0":
        command()


def plants(world: World) -> None:
    """Errors whose place is known."""
    right, tried = Counter(), Counter()
    wrong = []
    for seed in range(PLANTS):
        planted, found = world.planted(seed)
        named = found.first.value if found.first else "nothing"
        tried[planted.kind] += 1
        right[planted.kind] += named == planted.value
        if named != planted.value:
            wrong.append(f"seed {seed}, {planted.what}: {named} instead of {planted.value}")
        print(f"{seed + 1}/{PLANTS} {planted.what}: {named}", file=sys.stderr)
    print(
        f"{PLANTS} errors, one at a time, against the demo without it, on the one of 12 drawn "
        "pictures whose detections differ most; the first tensor beyond noise must be the one "
        "where the error is.\n"
    )
    print("| planted | tensor named rightly |\n| --- | ---: |")
    names = {
        "filter": "one filter of any convolution or matrix product larger by 5 %",
        "offsets": "x and y offsets of one deformable convolution swapped",
        "threshold": "an IoU threshold changed by 0.1 or 0.15, or a score threshold by 0.05",
    }
    for kind, meaning in names.items():
        print(f"| {meaning} | {right[kind]} of {tried[kind]} |")
    print(f"| all | {sum(right.values())} of {sum(tried.values())} |\n")
    for line in wrong:
        print(f"- {line}")
    print()


def pairs(world: World) -> None:
    """Graphs that compute the same."""
    quiet = 0
    for number in range(PAIRS):
        lowering = SAME[number % len(SAME)]
        found = world.same(lowering, number % world.pictures)
        quiet += found.first is None
        said = "nothing beyond noise" if found.first is None else found.first.value
        print(f"{number + 1}/{PAIRS} {lowering}: {said}", file=sys.stderr)
    print(
        f"Of {PAIRS} pairs that compute the same (the demo for onnxruntime, and lowered for each "
        f"of {', '.join(SAME)}; Ascend's in float32 without what its kernels change), {quiet} have "
        "nothing beyond noise.\n"
    )


def command() -> None:
    """The command on the demo."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [sys.executable, str(REPOSITORY / "scripts" / "cascadeport")]
        places = ["--build", str(folder / "build"), "--results", str(folder / "results")]
        done = run_command.run(folder / "build", folder / "results")
        if done.returncode not in run_command.FINISHED:
            sys.exit(done.stderr)
        rows = folder / "results" / "demo-demo"
        row_of_npu(rows / "cpu", rows / "310P3")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        explain = [*words, "explain", "cpu", "310P3", *places]
        subprocess.run(explain, check=True, capture_output=True)
        seconds = time.monotonic() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"`cascadeport explain cpu 310P3` on the demo, with the shares of points on all 200 "
            f"pictures: {seconds:.1f} s on {os.cpu_count()} cores, {used:.1f} s of processor time. "
            "The row of the 310P3 is the CPU's under another name, so its own mAP says nothing "
            "here.\n"
        )
        for sentence in sentences(rows / "explain-cpu-310P3.json")[:2]:
            print(f"> {sentence}")


if __name__ == "__main__":
    main()
