"""The R101 on a CPU in several shapes: the guide's square, the pictures' own, and two fixed ones.

Random calibrated weights (exporter, seed 1) and real pictures where they are. A contender is the
bundle's own runner (PyTorch: mmdet's `simple_test`) in a process of its own: it loads, detects the
wide one of its two pictures to warm up, then both. With open shapes, what the runtime prepares for
the high one's shape is inside its time. Contenders take turns.

Needs the environments of the export (make export-env) and of OpenVINO
(make install TARGET=openvino).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import r101
from _pictures import pictures
from cascadeport import backends
from cascadeport.base.progress import Reporter
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.engines import tensors
from cascadeport.graph.lowering import LoweringRequest

from bundle.geometry import fit
from bundle.job import Picture, Preprocess, Shape
from bundle.preprocess import Canvas, Preprocessor

REPOSITORY = Path(__file__).resolve().parents[1]
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SQUARE = ((r101.SIDE, r101.SIDE),)
WIDE, HIGH = (800, 1344), (1344, 800)
#: Width and height of the pictures.
SIZES = [(640, 480), (480, 640)]
ROUNDS = 1

RUNNER = """
import json, sys, time
import numpy
from bundle.runners import open_runner
from bundle.tensors import read_settings
runner = open_runner(read_settings(sys.argv[1]))
detect = lambda picture: runner.run(picture)
"""
TORCH = """
import json, sys, time
import numpy, torch
sys.path.insert(0, "images/export")
from exporter import model, reference
torch.set_num_threads(int(sys.argv[2]))
built = model.build(model.load_config(sys.argv[1]))
detect = lambda picture: reference.detect(built, picture)
"""
MEASURE = """
pictures = [numpy.load(path) for path in sys.argv[3:]]
detect(pictures[0])
for path, picture in zip(sys.argv[3:], pictures):
    cpu, wall = time.process_time(), time.perf_counter()
    detect(picture)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    status = open("/proc/self/status").read()  # getrusage would count the parent's memory
    peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print(json.dumps(dict(picture=path, cpu=cpu, wall=wall, peak=peak)), flush=True)
"""


def settings(kind: str) -> Preprocess:
    """How pictures are prepared: `square`, `fixed` or `own`."""
    shapes, edges, padding = (WIDE, HIGH), (1333, 800), "corner"
    if kind == "square":
        shapes, edges, padding = SQUARE, (r101.SIDE, r101.SIDE), "centre"
    return Preprocess(
        dtype="float32",
        shapes=tuple(Shape(*shape) for shape in shapes),
        resize=edges,
        mean=MEAN,
        std=STD,
        channels="rgb",
        padding=padding,
        multiple=32 if kind == "own" else 0,
    )


def prepare(folder: Path) -> tuple[dict[str, list[Path]], str]:
    """Writes every picture as the network's input of each kind."""
    files, described = pictures(folder)
    images = {path: cv2.imread(str(path)) for path in files}
    chosen = []
    for wanted in SIZES:
        chosen.append(next(path for path, image in images.items() if image.shape[1::-1] == wanted))
    found: dict[str, list[Path]] = {}
    for kind in ("square", "fixed", "own"):
        wanted_settings = settings(kind)
        canvas, preprocessor = Canvas(wanted_settings), Preprocessor(wanted_settings)
        for number, path in enumerate(chosen):
            image = images[path].copy()
            picture = Picture(number, path.name, image.shape[1], image.shape[0])
            preprocessor.prepare(image, fit(picture, wanted_settings), canvas)
            out = folder / f"{kind}-{number}.npy"
            np.save(out, canvas.array)
            found.setdefault(kind, []).append(out)
    return found, f"{len(chosen)} of {described}"


class Contender:
    """One way of running the network.

    Args:
        kind: How its pictures are prepared.
        command: What runs it, without the pictures.
        pictures: Which of them it gets.
    """

    def __init__(self, kind: str, command: Sequence[str], pictures: Sequence[int]) -> None:
        self.kind, self.command, self.pictures = kind, list(command), pictures
        self.measured: list[dict[str, Any]] = []

    def run(self, inputs: dict[str, list[Path]]) -> None:
        """Runs a round."""
        mine = [str(inputs[self.kind][index]) for index in self.pictures]
        done = subprocess.run(
            [*self.command, *mine],
            cwd=REPOSITORY,
            env={**os.environ, **r101.MALLOC, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        self.measured += [json.loads(line) for line in lines]

    def mean(self, key: str) -> float:
        """Of all pictures: they differ in size, so a median would be of one of them."""
        return statistics.fmean(one[key] for one in self.measured)

    @property
    def peak(self) -> float:
        """The highest memory, in GiB."""
        return max(one["peak"] for one in self.measured) / 2**30


def contenders(folder: Path, threads: int) -> dict[str, Contender]:
    """All of them, with their networks."""
    rows = targets.load(Options().targets, backends.row)
    found = {}
    both, wide = (0, 1), (0, 0)
    for row, runtime in (("cpu", "onnxruntime"), ("openvino", "OpenVINO")):
        backend = backends.of(rows[row])
        if backend.environment is not None:
            backend.environment.install(Reporter())
        python = str(backend.environment.python) if backend.environment else sys.executable
        lowering = backend.lowering("local").lowering
        plain = LoweringRequest(mean=MEAN, std=STD)
        requests = {
            "square": ("square", [replace(plain, shape=SQUARE[0])], SQUARE, both),
            "own": ("own", [replace(plain, any_shape=True, clip="picture")], (WIDE, HIGH), both),
            "two fixed": ("fixed", [replace(plain, any_shape=True)], (WIDE, HIGH), both),
            "one fixed": ("fixed", [replace(plain, shape=WIDE)], (WIDE,), wide),
        }
        for name, (kind, asked, shapes, turns) in requests.items():
            networks = []
            for number, one in enumerate(asked):
                network = folder / f"{row}-{name.replace(' ', '-')}-{number}.onnx"
                lowering.lower(r101.EXPORT / "neutral.onnx", network, one)
                networks.append(network)
            runner = {**backend.runner(Options()), "threads": threads}
            content = tensors.settings_of(networks[0], runner, shapes[0])
            content["networks"] = [
                tensors.settings_of(network, runner, shapes[0])["networks"][0]
                for network in networks
            ]
            content["input"].update(
                shapes=[list(shape) for shape in shapes], resize=[min(shapes[0])] * 2
            )
            if kind == "own":
                content["input"]["multiple"] = 32
            path = folder / f"{row}-{name.replace(' ', '-')}.json"
            path.write_text(json.dumps(content))
            command = [python, "-c", RUNNER + MEASURE, str(path), str(threads)]
            found[f"{runtime}, {name}"] = Contender(kind, command, turns)
    command = [str(r101.PYTHON37), "-c", TORCH + MEASURE, str(r101.CONFIG), str(threads)]
    found["PyTorch 1.7.0, own"] = Contender("own", command, both)
    return found


TITLES = {
    "square": "1216 x 1216 (the guide's)",
    "own": "own multiples of 32, 1333x800",
    "two fixed": "800x1344 and 1344x800, one network",
    "one fixed": "800x1344 only, wide pictures only",
}


def main() -> None:
    threads = len(os.sched_getaffinity(0))
    r101.export()
    with tempfile.TemporaryDirectory(prefix="cascadeport-shapes-") as name:
        inputs, described = prepare(Path(name))
        found = contenders(Path(name), threads)
        for number in range(ROUNDS):
            for title, one in found.items():
                one.run(inputs)
                # Some take a minute: what is known is said at once.
                print(
                    f"shapes   round {number + 1}, {title}: {one.mean('cpu'):.2f} CPU s a picture, "
                    f"{one.peak:.2f} GiB",
                    file=sys.stderr,
                    flush=True,
                )
    pixels = {
        kind: statistics.fmean(
            float(np.prod(fit(Picture(0, "", *size), settings(kind)).shape)) for size in SIZES
        )
        for kind in ("square", "own", "fixed")
    }
    base = found["onnxruntime, square"].mean("cpu")
    print("## The R101 in several shapes on this CPU\n")
    print((__doc__ or "").split("\n\n")[1] + "\n")
    print(f"{described}, {threads} threads; means of the pictures.\n")
    print("| runtime | input | pixels | CPU s a picture | pictures per CPU s | wall s | peak GiB |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for title, one in found.items():
        runtime, kind = title.split(", ")
        cpu = one.mean("cpu")
        print(
            f"| {runtime} | {TITLES[kind]} | {pixels[one.kind] / pixels['square']:.2f} x | "
            f"{cpu:.1f} | {base / cpu:.2f} x | {one.mean('wall'):.1f} | {one.peak:.2f} |"
        )
    best = min(
        (one.mean("cpu"), title)
        for title, one in found.items()
        if title.endswith(", own") and not title.startswith("PyTorch")
    )
    torch = found["PyTorch 1.7.0, own"].mean("cpu")
    print(
        f"\nAt mmdet's own meaning {best[1].split(',')[0]} finishes {base / best[0]:.2f} x as many "
        "pictures per CPU second as the guide's recipe in onnxruntime (target: at least 1.5 x), "
        f"and {torch / best[0]:.2f} x as many as PyTorch 1.7 on the same pictures (target: at "
        "least 4 x)."
    )
    for runtime in ("onnxruntime", "OpenVINO"):
        one, two = (found[f"{runtime}, {name}"].peak for name in ("one fixed", "two fixed"))
        print(
            f"Two orientations in one network need {two / one:.2f} x the peak memory of one in "
            f"{runtime} (target: at most 1.3 x)."
        )


if __name__ == "__main__":
    main()
