"""The R101 in int8 on this machine's CPU, against float32 in the guide's recipe, in one run.

Random calibrated weights (exporter, seed 1), real pictures if they are there. The guide's recipe is
onnxruntime, 1216 x 1216, 1000 proposals, float32, our fused graph; the others change one thing
after the other: the runtime, int8, and every picture in a shape of its own (1333x800) with 300
proposals. PyTorch has the pictures in their own shapes, too. Ranges are measured on 4 other
pictures; only time is measured here, random weights have no accuracy.

Each contender is the bundle's own runner in a process and an environment of its own; it loads,
detects every picture once to warm up and once more to be timed; the contenders take turns.

Then the demo in both runtimes, quantised as `make quantise` does it.

The networks are kept in build/bench-int8. Needs the environments of the export (make export-env),
of OpenVINO (make install TARGET=openvino) and of the tools (make install PRECISION=int8).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import _pictures
import r101
import shapes

REPOSITORY = Path(__file__).resolve().parents[1]
OUT = REPOSITORY / "build" / "bench-int8"
PICTURES, CALIBRATED, ROUNDS = 2, 4, 2
BASE = "onnxruntime, 1216 square, float32"
TORCH = "PyTorch 1.7.0, own shapes (1333x800), float32"
CODE = """
import json, sys, time
import numpy
from bundle.runners import open_runner
from bundle.tensors import read_settings
runner = open_runner(read_settings(sys.argv[1]))
pictures = [numpy.load(path) for path in sys.argv[2:]]
for picture in pictures:
    runner.run(picture)
for picture in pictures:
    cpu, wall = time.process_time(), time.perf_counter()
    runner.run(picture)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    status = open("/proc/self/status").read()
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print(json.dumps(dict(cpu=cpu, wall=wall, peak=peak)), flush=True)
"""


@dataclass(frozen=True)
class Recipe:
    """One contender.

    Args:
        target: A row of targets.toml.
        own: Whether every picture has a shape of its own, with 300 proposals; else 1216 square.
        int8: Whether its network is quantised.
    """

    target: str
    own: bool
    int8: bool

    @property
    def title(self) -> str:
        """For the table."""
        name = {"cpu": "onnxruntime", "openvino": "OpenVINO"}[self.target]
        frame = "own shapes (1333x800), 300 proposals" if self.own else "1216 square"
        return f"{name}, {frame}, {'int8' if self.int8 else 'float32'}"

    @property
    def name(self) -> str:
        """For files."""
        return "-".join([self.target, "own" if self.own else "1216", "int8" if self.int8 else ""])


RECIPES = [
    *(Recipe(target, False, int8) for target in ("cpu", "openvino") for int8 in (False, True)),
    *(Recipe(target, True, True) for target in ("cpu", "openvino")),
]


def inputs(own: bool, folder: Path) -> list[Path]:
    """The pictures as network inputs: those to calibrate on, then those that are timed."""
    from cascadeport.pipeline import job as jobs
    from cascadeport.quantise.calibration import CalibrationPicture, prepare

    folder.mkdir(parents=True, exist_ok=True)
    paths, _ = _pictures.pictures(folder)
    chosen = [CalibrationPicture(path, path.name, "") for path in paths]
    chosen = chosen[PICTURES : PICTURES + CALIBRATED] + chosen[:PICTURES]
    card, options, backend = _subject("cpu", own)
    settings = jobs.settings(card, backend, options, 1)
    return prepare(chosen, settings, folder, lambda *_: None)


def _subject(target: str, own: bool, model: str = "cascade_r101_dcn") -> tuple[Any, Any, Any]:
    from cascadeport import backends
    from cascadeport.config import cards, frames, targets
    from cascadeport.config.options import Options

    options = Options(target=target, **({"shapes": "own", "resize": "1333x800"} if own else {}))
    card = cards.load(cards.find(model, options.models))
    rows = targets.load(options.targets, backends.row)
    return frames.framed(card, options, lambda: []), options, backends.of(rows[target])


def network(recipe: Recipe, calibration: list[Path]) -> Path:
    """The recipe's network; made unless it is there."""
    from cascadeport import backends
    from cascadeport.config.targets import Semantics
    from cascadeport.pipeline.stages import lower

    card, _, backend = _subject(recipe.target, recipe.own)
    lowering = backends.lowering(backend.lowering("local").lowering.name)
    # Made by the name without -int8 first: what is quantised.
    lowered = OUT / f"{Recipe(recipe.target, recipe.own, False).name}.onnx"
    if not lowered.exists():
        semantics = Semantics(proposals=300 if recipe.own else None)
        shape = None if recipe.own else card.traced
        request = lower.request(card, semantics, shape, lowering)
        lowering.lower(r101.EXPORT / "neutral.onnx", lowered, request)
    out = OUT / f"{recipe.name}.onnx"
    if not out.exists():
        quantise(lowered, out, backend.quantiser(lowering.name), calibration)
    return out


def quantise(lowered: Path, out: Path, tool: str, calibration: list[Path]) -> None:
    """Every layer that may be int8 is: nothing is decided by drift, which random weights lack."""
    import onnx
    from cascadeport.quantise.environment import ENVIRONMENT
    from cascadeport.quantise.selection import select

    with tempfile.TemporaryDirectory(prefix="cascadeport-int8-", dir=OUT) as folder:
        request = Path(folder) / "request.json"
        values = {
            "tool": tool,
            "graph": str(lowered),
            "inputs": [str(path) for path in calibration],
            "nodes": list(select(onnx.load(str(lowered))).nodes),
            "ranges": str(Path(folder) / "ranges"),
            "variants": [{"out": str(out), "float": []}],
        }
        request.write_text(json.dumps(values))
        subprocess.run(
            [str(ENVIRONMENT.python), "-m", "cascadeport.quantise.tool", str(request)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY / "scripts")},
            stdout=sys.stderr,
            check=True,
        )


def command(
    recipe: Recipe, path: Path, pictures: list[Path], threads: int, scratch: Path
) -> list[str]:
    """What times a contender."""
    import numpy as np
    from cascadeport.engines import tensors

    _, options, backend = _subject(recipe.target, recipe.own)
    environment = backend.environment
    python = sys.executable if environment is None else str(environment.python)
    shapes = [np.load(one, mmap_mode="r").shape[2:] for one in pictures]
    runner = {**backend.runner(options), "threads": threads}
    settings = scratch / f"{recipe.name}.json"
    settings.write_text(json.dumps(tensors.settings_of(path, runner, *shapes)))
    return [python, "-c", CODE, str(settings), *map(str, pictures)]


def demo(scratch: Path, threads: int) -> None:
    """Prints the demo's table: 40 of its evaluated pictures, one network after the other."""
    from cascadeport.engines import tensors
    from cascadeport.pipeline import job as jobs
    from cascadeport.quantise.calibration import choose, prepare

    words = ["--build", str(OUT / "demo")]
    commands = {}
    for target, title in (("cpu", "onnxruntime"), ("openvino", "OpenVINO")):
        subprocess.run(
            [sys.executable, "-m", "cascadeport", "quantise", "--target", target, *words],
            stdout=sys.stderr,
            check=True,
        )
        card, options, backend = _subject(target, False, "demo")
        inputs = scratch / f"demo-{target}"
        inputs.mkdir()
        pictures = choose(OUT / "demo" / "data" / "demo" / "val2017", 40)
        settings = jobs.settings(card, backend, options, 1)
        paths = prepare(pictures, settings, inputs, lambda *_: None)
        python = sys.executable if backend.environment is None else backend.environment.python
        lowering = backend.lowering("local").lowering.name
        for kind, suffix in (("float32", ""), ("int8", "-int8")):
            made = OUT / "demo" / "models" / "demo" / f"{lowering}{suffix}" / "network.onnx"
            runner = {**backend.runner(options), "threads": threads}
            path = scratch / f"demo-{target}{suffix}.json"
            path.write_text(json.dumps(tensors.settings_of(made, runner, (256, 256))))
            commands[f"{title}, {kind}"] = [str(python), "-c", CODE, str(path), *map(str, paths)]
    figures = timed(commands)
    cpu = {title: statistics.mean(row["cpu"] for row in rows) for title, rows in figures.items()}
    print(f"\nThe demo, 40 of its pictures in each of {ROUNDS} processes, {threads} threads:\n")
    print("| | CPU ms per picture | of float32 |\n| --- | ---: | ---: |")
    for title, seconds in cpu.items():
        base = cpu[f"{title.split(',')[0]}, float32"]
        print(f"| {title} | {1000 * seconds:.1f} | {seconds / base:.2f} |")


def timed(commands: dict[str, list[str]]) -> dict[str, list[dict[str, float]]]:
    """Every contender in turn, ROUNDS times."""
    figures: dict[str, list[dict[str, float]]] = {}
    for _ in range(ROUNDS):
        for title, words in commands.items():
            done = subprocess.run(
                words,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                cwd=REPOSITORY,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
            lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
            figures.setdefault(title, []).extend(json.loads(line) for line in lines)
            print(f"int8     {title}: {lines[:4]}", file=sys.stderr)
    return figures


def instructions() -> str:
    """What this processor multiplies int8 with."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = {"amx_int8": "AMX", "avx512_vnni": "AVX-512 VNNI", "avx_vnni": "AVX VNNI"}
    found = [name for flag, name in names.items() if flag in flags.split()]
    return " and ".join(found) or "neither VNNI nor AMX"


def main() -> None:
    threads = len(os.sched_getaffinity(0))
    r101.export()
    sys.path.insert(0, str(REPOSITORY / "scripts"))
    OUT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="cascadeport-int8-") as name:
        scratch = Path(name)
        commands = {}
        for own in (False, True):
            paths = inputs(own, scratch / ("own" if own else "1216"))
            for recipe in RECIPES:
                if recipe.own == own:
                    print(f"int8     {recipe.title}", file=sys.stderr)
                    made = network(recipe, paths[:CALIBRATED])
                    shown = paths[CALIBRATED:]
                    commands[recipe.title] = command(recipe, made, shown, threads, scratch)
        code = shapes.TORCH + shapes.MEASURE
        words = [str(r101.PYTHON37), "-c", code, str(r101.CONFIG), str(threads)]
        commands[TORCH] = [*words, *map(str, shown)]
        figures = timed(commands)
        report(figures, threads)
        demo(scratch, threads)


def report(figures: dict[str, list[dict[str, float]]], threads: int) -> None:
    """Prints the section."""
    what = _pictures.pictures(Path(tempfile.mkdtemp(prefix="cascadeport-int8-")))[1]
    cpu = {title: statistics.mean(row["cpu"] for row in rows) for title, rows in figures.items()}
    print("## The R101 in int8 on this CPU\n")
    print(
        f"Random calibrated weights, {PICTURES} of {what} in each of {ROUNDS} processes per "
        f"contender, in turns, {threads} threads; means. This processor has {instructions()}. "
        f"Ranges from {CALIBRATED} other pictures. The last column is pictures per CPU second "
        f"against the guide's recipe ({BASE}, 1000 proposals).\n"
    )
    print("| | CPU s per picture | wall s | peak memory GiB | pictures per CPU s |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for title, rows in figures.items():
        wall = statistics.mean(row["wall"] for row in rows)
        peak = max(row["peak"] for row in rows) / 2**30
        print(
            f"| {title} | {cpu[title]:.2f} | {wall:.2f} | {peak:.2f} | "
            f"{cpu[BASE] / cpu[title]:.2f} x |"
        )
    best = min(cpu, key=lambda title: cpu[title])
    print(
        f"\nThe fastest, {best}, does {cpu[BASE] / cpu[best]:.2f} x the pictures per CPU second "
        f"(target: at least 2.4 x), and {cpu[TORCH] / cpu[best]:.2f} x as many as PyTorch on the "
        "same pictures (target: at least 4 x)."
    )


if __name__ == "__main__":
    main()
