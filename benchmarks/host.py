"""The host on small pictures: what arrives end to end of what the device makes, and streams.

The demo on its drawn pictures and NanoDet-m 416 on 26 real ones (beside the checkout; left out if
they are not there), by onnxruntime on this CPU, through the bundle's own pass. Then a device that
only sleeps, faster than one worker can decode: how many workers it gets.
"""

from __future__ import annotations

import contextlib
import io
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "benchmarks"), str(REPOSITORY / "scripts"), str(REPOSITORY)]

from _jobs import make_job  # noqa: E402
from cascadeport import backends, datasets, scenes  # noqa: E402
from cascadeport.base import digest  # noqa: E402
from cascadeport.config import cards  # noqa: E402
from cascadeport.graph.lowering import LoweringRequest  # noqa: E402
from cascadeport.pipeline.job import network_input  # noqa: E402
from stream import SleepingRunner  # noqa: E402

from bundle.job import Job  # noqa: E402
from bundle.run import run  # noqa: E402
from bundle.runners import open_runner  # noqa: E402

SHARED = REPOSITORY.parent / "shared" / "data"
TARGET, PASSES, PICTURES = 0.97, 4, 40
FAST_S = 0.002


def job_of(card: Any, network: Path, dataset: Any, **runner: Any) -> Job:
    """A job as the orchestrator compiles it, of some pictures, several times over."""
    items = [
        {"id": one.id, "file": one.file, "width": one.width, "height": one.height}
        for one in dataset.items[:PICTURES]
    ]
    threads = len(os.sched_getaffinity(0))
    return make_job(
        REPOSITORY,
        networks=[{"path": str(network), "sha256": digest.of_file(network)}],
        input=network_input(card),
        outputs={"boxes": card.output.boxes, "labels": card.output.labels},
        preprocess={
            "mean": list(card.input.mean),
            "std": list(card.input.std),
            "channels": card.input.channels,
            "padding": card.input.padding,
        },
        classes=[one.model_dump() for one in card.classes],
        pictures={"root": str(dataset.pictures_dir), "items": items},
        runner={"name": "onnxruntime", "threads": threads, "options": {}, **runner},
        stream={"workers": "auto", "queue": 4},
        measure={"warmup": 5, "repeats": PASSES, "repeat_pictures": PICTURES},
    )


def measure(job: Job, load: Any = open_runner) -> dict[str, Any]:
    """The record of a pass and its repeats."""
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        return run(job, folder, load)


def line(name: str, record: dict[str, Any], target: bool = True) -> str:
    """A row of the table: medians over the passes."""
    passes = record["summary"]["repeats"]
    share = statistics.median(one["end_to_end_ips"] / one["device_ips"] for one in passes)
    device, total = (
        statistics.median(one[rate] for one in passes) for rate in ("device_ips", "end_to_end_ips")
    )
    found = record["environment"]
    latency = record["summary"]["latency_ms"]["p50"]
    goal = f"{TARGET}, {'met' if share >= TARGET else 'MISSED'}" if target else ""
    return (
        f"| {name} | {found['workers']} | {device:.2f} | {total:.2f} | {latency:.1f} "
        f"| {share:.3f} | {goal} |"
    )


def main() -> None:
    print("## The host's side on small pictures\n")
    print(
        f"Medians of {PASSES} passes over at most {PICTURES} pictures, "
        f"{len(os.sched_getaffinity(0))} threads. `device` is pictures by the seconds in which the "
        "network worked, latency the median milliseconds of a picture in it.\n"
    )
    print("| pass | workers | device, pictures/s | end to end | latency | share | target |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = [demo(folder)] + ([nanodet(folder)] if SHARED.is_dir() else [])
        for title, card, network, dataset in subjects:
            for streams in (1, 2):
                if streams > len(os.sched_getaffinity(0)):
                    continue
                record = measure(job_of(card, network, dataset, streams=streams))
                text = title if streams == 1 else f"{title}, {streams} streams"
                print(line(text, record), flush=True)
        title, card, network, dataset = subjects[-1]
        job = job_of(card, network, dataset, name="sleep")
        record = measure(job, lambda one: SleepingRunner(FAST_S, False))
        print(line(f"a device of {FAST_S} s, pictures of {title}", record, target=False))
        print(f"\nWhat the last one tried: {tried(record)}.")


def tried(record: dict[str, Any]) -> str:
    """What was seen with each number of workers."""
    return "; ".join(
        f"{one['workers']}: {one['ips']:.0f} pictures/s, the device waits {one['starved']:.0%}"
        for one in record["environment"]["workers_found"]
    )


def demo(folder: Path) -> tuple[str, Any, Path, Any]:
    """The demo, its network, and its pictures."""
    card = cards.load(REPOSITORY / "models" / "demo.toml")
    network = folder / "demo.onnx"
    backends.lowering("onnxruntime").lower(
        REPOSITORY / "models" / "demo" / "demo.onnx", network, LoweringRequest()
    )
    root = folder / "scenes"
    scenes.generate(root, PICTURES, 7)
    return "the demo", card, network, datasets.load(root)


def nanodet(folder: Path) -> tuple[str, Any, Path, Any]:
    """The real detector on real pictures."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.helpers import real_world

    card = cards.load(real_world.nanodet(SHARED, folder))
    network = SHARED / "detector" / "nanodet_m.onnx"
    return "NanoDet", card, network, datasets.load(SHARED / "coco26")


if __name__ == "__main__":
    main()
