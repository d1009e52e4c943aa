"""Several chips of one card share the pictures of one pass."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.group import Inferred
from bundle.job import FORMAT, Job, check_job
from bundle.runners import Outputs, Runner
from bundle.stream import Stream


class Chip(Runner):
    """Finds nothing, and remembers who asked it for what."""

    def __init__(self, job: Job) -> None:
        self.device = job.runner.options.get("device")
        self.threads = {threading.get_ident()}
        self.runs = 0
        self.closed = False

    def describe(self) -> dict[str, Any]:
        return {"runtime": "none"}

    def run(self, batch: np.ndarray) -> Outputs:
        self.threads.add(threading.get_ident())
        self.runs += 1
        boxes, labels = np.zeros((1, 5), np.float32), np.zeros(1, np.int64)
        return Outputs(boxes, labels, device_ms=1.0)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed = True


def job(folder: Path, count: int, options: dict[str, Any]) -> Job:
    items = []
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
        items.append({"id": number, "file": f"{number}.png", "width": 8, "height": 8})
    settings = {
        "format": FORMAT,
        "networks": [{"path": "none", "sha256": ""}],
        "input": {"name": "input", "dtype": "float32", "shapes": [[32, 32]], "resize": [32, 32]},
        "outputs": {"boxes": "boxes", "labels": "labels"},
        "preprocess": {"mean": [0, 0, 0], "std": [1, 1, 1], "channels": "rgb", "padding": "centre"},
        "postprocess": {"score_threshold": 0.05, "max_detections": 100},
        "classes": [{"name": "thing", "category_id": 1}],
        "pictures": {"root": str(folder), "items": items},
        "runner": {"name": "none", "threads": 1, "options": options},
        "stream": {"workers": 2, "queue": 2},
        "measure": {"warmup": 0, "repeats": 1, "repeat_pictures": 1},
        "keep_going": False,
        "draw": 0,
    }
    return check_job(settings, str(folder))


@pytest.mark.parametrize(
    ("options", "devices", "runs"),
    [
        ({}, [None], [10]),
        ({"device": 3}, [3], [10]),
        ({"devices": [0, 1, 2, 3]}, [0, 1, 2, 3], [3, 3, 2, 2]),
    ],
)
def test_chips_share_the_pictures(
    tmp_path: Path, options: dict[str, Any], devices: list[int | None], runs: list[int]
) -> None:
    made = job(tmp_path, 10, options)
    chips: list[Chip] = []

    def load(job: Job) -> Runner:
        chips.append(Chip(job))
        return chips[-1]

    finished: list[int] = []

    def finish(result: Any) -> None:
        assert isinstance(result, Inferred)
        finished.append(result.picture.id)

    with Stream(made, load) as stream:
        stream.run(made.pictures, finish)
    assert [chip.device for chip in chips] == devices
    assert [chip.runs for chip in chips] == runs
    # Results are in the job's order whichever chip was first, and each chip has its own thread.
    assert finished == list(range(10))
    assert all(len(chip.threads) == 1 for chip in chips)
    assert len(set().union(*(chip.threads for chip in chips))) == len(devices)
    assert all(chip.closed for chip in chips)
