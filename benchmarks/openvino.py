"""The R101 at 1216x1216 on this machine's CPU by onnxruntime and by OpenVINO, in one run.

Random calibrated weights (exporter, seed 1) and the pictures of the export. Each contender is the
bundle's own runner in a process and an environment of its own; it loads, detects once to warm up,
and detects TURNS times; the contenders take turns. Detections are compared with PyTorch's.

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
from pathlib import Path

import r101

REPOSITORY = Path(__file__).resolve().parents[1]
TURNS, ROUNDS = 2, 2
CODE = """
import json, sys, time
import numpy
from bundle.runners import open_runner
from bundle.tensors import read_settings
runner = open_runner(read_settings(sys.argv[1]))
picture = numpy.load(sys.argv[2])["input"]
detect = lambda: runner.run(picture)
"""


def main() -> None:
    threads = len(os.sched_getaffinity(0))
    r101.export()
    from cascadeport import backends, graph
    from cascadeport.base.progress import Reporter
    from cascadeport.config import targets
    from cascadeport.config.options import Options
    from cascadeport.engines import tensors

    rows = targets.load(Options().targets, backends.row)
    contenders: dict[str, list[str]] = {}
    reports = []
    pictures = json.loads((r101.EXPORT / "export.json").read_text())["pictures"]
    with tempfile.TemporaryDirectory(prefix="cascadeport-openvino-") as folder:
        for name in ("cpu", "openvino"):
            backend = backends.of(rows[name])
            environment = backend.environment
            if environment is not None:
                environment.install(Reporter())
            python = sys.executable if environment is None else str(environment.python)
            lowering = backend.lowering("local").lowering
            network = Path(folder) / f"{name}.onnx"
            lowering.lower(r101.EXPORT / "neutral.onnx", network)
            session = backend.session(network, lowering.name)
            assert session is not None
            report = graph.verify(session, network.name, r101.EXPORT)
            reports.append((rows[name].title, session.runtime, report))
            settings = Path(folder) / f"{name}.json"
            runner = {**backend.runner(Options()), "threads": threads}
            side = (r101.SIDE, r101.SIDE)
            settings.write_text(json.dumps(tensors.settings_of(network, runner, side)))
            contenders[rows[name].title] = [
                *(python, "-c", CODE + r101.MEASURE, str(settings)),
                *(str(r101.EXPORT / pictures[0]["file"]), str(threads), str(TURNS)),
            ]
        figures: dict[str, list[dict[str, float]]] = {title: [] for title in contenders}
        for _ in range(ROUNDS):
            for title, command in contenders.items():
                done = subprocess.run(
                    command,
                    env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
                figures[title] += [json.loads(line) for line in lines]
    base = statistics.median(one["cpu"] for one in figures["CPU, onnxruntime"])
    print("## The R101 by onnxruntime and by OpenVINO\n")
    print((__doc__ or "").split("\n\n")[1] + "\n")
    print(f"{ROUNDS * TURNS} pictures each, {threads} threads, medians.\n")
    print("| runtime | CPU s a picture | of onnxruntime's | wall s | peak GiB |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for title, measured in figures.items():
        cpu, wall = (statistics.median(one[key] for one in measured) for key in ("cpu", "wall"))
        peak = max(one["peak"] for one in measured) / 2**30
        print(f"| {title} | {cpu:.1f} | {cpu / base:.2f} | {wall:.1f} | {peak:.2f} |")
    print()
    for title, runtime, report in reports:
        print(f"- {title} ({runtime}): {report.summary}.")


if __name__ == "__main__":
    main()
