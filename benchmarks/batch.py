"""What a batch gains on a CPU: the demo for one, two and four pictures, the R101 for one and two.

The graphs are lowered for several pictures at once (docs/lowering.md): backbone, FPN and the RPN's
convolutions run on all of them, what follows has a copy for each. The bundle's own runners run
them, each in a process and its environment, which loads, runs once to warm up, and once more. The
contenders alternate. Processor seconds count, divided by the number of pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "benchmarks"), str(REPOSITORY / "scripts"), str(REPOSITORY)]

ROUNDS = 3
# The R101 takes a minute for a batch of two on two cores.
DEMO_BATCHES, R101_BATCHES, R101_ROUNDS = (1, 2, 4), (1, 2), 1
# What a batch has to gain to be worth a place in the search (docs/tune.md).
WORTH = 0.95
DEMO = REPOSITORY / "models" / "demo" / "demo.onnx"
RUNTIMES = {
    "onnxruntime": ("onnxruntime", Path(sys.executable)),
    "OpenVINO": ("openvino", REPOSITORY / ".venv-openvino" / "bin" / "python"),
}

RUN = """
import json, sys, time
import numpy
from bundle.runners import open_runner
from bundle.tensors import read_settings
runner = open_runner(read_settings(sys.argv[1]))
batch = numpy.load(sys.argv[2])
runner.run_all(batch)
cpu, wall = time.process_time(), time.perf_counter()
runner.run_all(batch)
print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))
"""


def prepare(folder: Path, neutral: Path, picture: np.ndarray, runtime: str, batch: int) -> None:
    """Writes a network for so many pictures at once, its settings and its input."""
    from cascadeport import backends
    from cascadeport.engines.tensors import settings_of
    from cascadeport.graph.lowering import LoweringRequest

    name = RUNTIMES[runtime][0]
    folder.mkdir(parents=True, exist_ok=True)
    network = folder / f"{name}-{batch}.onnx"
    backends.lowering(name).lower(neutral, network, LoweringRequest(pictures=batch))
    settings = settings_of(network, {"name": name, "options": {}}, picture.shape[2:])
    settings["input"]["pictures"] = batch
    network.with_suffix(".json").write_text(json.dumps(settings))
    # Not the same picture again and again: a mirrored one has other proposals.
    turned = [picture, picture[..., ::-1], picture[..., ::-1, :], picture[..., ::-1, ::-1]]
    np.save(network.with_suffix(".npy"), np.ascontiguousarray(np.concatenate(turned[:batch])))


def measure(folder: Path, runtime: str, batch: int) -> tuple[float, float]:
    """Processor and wall seconds per picture."""
    name, python = RUNTIMES[runtime]
    network = folder / f"{name}-{batch}"
    command = [str(python), "-c", RUN, f"{network}.json", f"{network}.npy"]
    done = subprocess.run(
        command, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    cpu, wall = json.loads(done.stdout.splitlines()[-1])
    return cpu / batch, wall / batch


def section(
    title: str,
    neutral: Path,
    picture: np.ndarray,
    folder: Path,
    batches: tuple[int, ...],
    rounds: int,
) -> None:
    """Measures one model, and prints its table."""
    runtimes = [name for name, (_, python) in RUNTIMES.items() if python.exists()]
    for runtime in runtimes:
        for batch in batches:
            prepare(folder, neutral, picture, runtime, batch)
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for runtime in runtimes:
            for batch in batches:
                found.setdefault((runtime, batch), []).append(measure(folder, runtime, batch))
    print(f"{title}\n")
    print("| runtime | batch | CPU s per picture | of batch 1 | s until all are there |")
    print("| --- | ---: | ---: | ---: | ---: |")
    best = 1.0
    for runtime in runtimes:
        alone = statistics.median(cpu for cpu, _ in found[runtime, 1])
        for batch in batches:
            cpu, wall = (statistics.median(one) for one in zip(*found[runtime, batch], strict=True))
            print(
                f"| {runtime} | {batch} | {cpu:.3f} | {cpu / alone:.2f} | {wall * batch:.2f} |",
                flush=True,
            )
            best = min(best, cpu / alone)
    verdict = "worth its place in" if best <= WORTH else "left out of"
    print(f"\nThe best is {best:.2f} x batch 1: {verdict} the default search.\n", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=("demo", "r101"), help="only this one")
    options = parser.parse_args()
    import r101

    print("## A batch on this CPU\n")
    print(
        f"{len(os.sched_getaffinity(0))} threads, medians of {ROUNDS} rounds in turn (R101: "
        f"{R101_ROUNDS}). A gain of 5 % in processor seconds is what counts.\n"
    )
    work = REPOSITORY / "build" / "bench-batch"
    if options.model in (None, "demo"):
        random = np.random.default_rng(0)
        coarse = random.standard_normal((1, 3, 16, 16)).astype(np.float32)
        picture = coarse.repeat(16, axis=2).repeat(16, axis=3)
        section("The demo, 256 x 256.", DEMO, picture, work / "demo", DEMO_BATCHES, ROUNDS)
    if options.model in (None, "r101"):
        r101.export()
        with np.load(r101.EXPORT / "reference" / "01.npz") as stored:
            picture = stored["input"]
        neutral = r101.EXPORT / "neutral.onnx"
        title = "The R101, 1216 x 1216, random weights."
        section(title, neutral, picture, work / "r101", R101_BATCHES, R101_ROUNDS)


if __name__ == "__main__":
    main()
