"""Pictures with a known rectangle in them, and the job that finds it again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bundle.job import FORMAT, Job, check_job
from bundle.runners import Outputs, Runner
from tests.helpers import tiny_model

REPOSITORY = Path(__file__).resolve().parents[2]
SIZE = 96
SIZES = ((64, 48), (48, 64), (96, 96), (200, 113), (33, 150))
"""(width, height) of the pictures: enlarged, reduced, portrait, landscape, as it is."""


def rectangle(width: int, height: int) -> list[int]:
    """The bright rectangle of a picture: x1, y1, x2, y2 in pixels."""
    return [width // 4, height // 3, width // 4 + width // 2, height // 3 + height // 2]


def write_picture(path: Path, width: int, height: int, channel: int = 2) -> None:
    """A black picture with a bright rectangle in one channel of BGR."""
    image = np.zeros((height, width, 3), np.uint8)
    x1, y1, x2, y2 = rectangle(width, height)
    image[y1:y2, x1:x2, channel] = 255
    done, data = cv2.imencode(path.suffix, image)
    assert done
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())


def item(id: int, file: str, width: int, height: int) -> dict[str, Any]:
    """A picture as the job lists it."""
    return {"id": id, "file": file, "width": width, "height": height}


def write_pictures(
    root: Path, sizes: Sequence[tuple[int, int]] = SIZES, name: str = "{}.png"
) -> list[dict[str, Any]]:
    """Pictures of these sizes, red rectangles, as the job lists them."""
    items = []
    for index, (width, height) in enumerate(sizes):
        file = name.format(index)
        write_picture(root / file, width, height)
        items.append(item(10 * index + 7, file, width, height))
    return items


def square(size: int) -> dict[str, Any]:
    """A square input that the long edge fills, as the job's `input` has it."""
    return {"shapes": [[size, size]], "resize": [size, size]}


def file(path: Path) -> dict[str, Any]:
    """A network as the job lists it."""
    return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def job(
    root: Path, items: list[dict[str, Any]], model: Path | None = None, **changes: Any
) -> dict[str, Any]:
    """A job that keeps bright values above 0.5 after normalising with mean 0 and std 255."""
    content: dict[str, Any] = {
        "format": FORMAT,
        "networks": [file(model) if model else {"path": "none.onnx", "sha256": "0"}],
        "input": {"name": "input", "dtype": "float32", **square(SIZE)},
        "outputs": {"boxes": "boxes", "labels": "labels"},
        "preprocess": {
            "mean": [0, 0, 0],
            "std": [255, 255, 255],
            "channels": "rgb",
            "padding": "centre",
        },
        "postprocess": {"score_threshold": 0.05, "max_detections": 100},
        "classes": [
            {"name": "red thing", "category_id": 3},
            {"name": "green", "category_id": 11},
            {"name": "blue", "category_id": 5},
        ],
        "pictures": {"root": str(root), "items": items},
        "runner": {
            "name": "onnxruntime",
            "provider": "CPUExecutionProvider",
            "threads": 1,
            "options": {},
        },
        "stream": {"workers": 2, "queue": 2},
        "measure": {"warmup": 1, "repeats": 2, "repeat_pictures": 3},
        "keep_going": False,
        "draw": 0,
    }
    for key, value in changes.items():
        old = content[key]
        content[key] = {**old, **value} if isinstance(old, dict) else value
    return content


def checked(content: dict[str, Any]) -> Job:
    """The job as the bundle holds it."""
    return check_job(content, "/")


def small(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """A job over five pictures and the tiny network."""
    dtype = changes.get("input", {}).get("dtype", "float32")
    threshold = 127.5 if dtype == "uint8" else 0.5
    model = tiny_model.save(tmp_path / "tiny.onnx", size=SIZE, dtype=dtype, threshold=threshold)
    root = tmp_path / "pictures"
    return job(root, write_pictures(root), model, **changes)


ORIENTED = ((64, 96), (96, 64))
"""(height, width) of the inputs of `oriented`."""
RESIZE = (90, 60)
"""Long and short edge of its resized pictures."""


def oriented(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    """The job of `small`, with a network for wide pictures and another for high ones."""
    content = small(tmp_path, **changes)
    dtype = content["input"]["dtype"]
    threshold = 127.5 if dtype == "uint8" else 0.5
    content["networks"] = []
    for shape in ORIENTED:
        path = tmp_path / "tiny-{}x{}.onnx".format(*shape)
        tiny_model.save(path, size=shape, dtype=dtype, threshold=threshold)
        content["networks"].append(file(path))
    content["input"].update(shapes=[list(shape) for shape in ORIENTED], resize=list(RESIZE))
    return content


def own(tmp_path: Path, multiple: int = 32, **changes: Any) -> dict[str, Any]:
    """The job of `oriented` with one network, in which every picture has a shape of its own."""
    content = oriented(tmp_path, **changes)
    dtype = content["input"]["dtype"]
    threshold = 127.5 if dtype == "uint8" else 0.5
    path = tiny_model.save(tmp_path / "every.onnx", size=None, dtype=dtype, threshold=threshold)
    content["networks"] = [file(path)]
    content["input"]["multiple"] = multiple
    return content


def write(path: Path, content: dict[str, Any]) -> Path:
    """The job as a file."""
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def command(*arguments: object, python: object = sys.executable) -> list[str]:
    """The bundle's command line."""
    return [str(python), "-m", "bundle", *map(str, arguments)]


def environment() -> dict[str, str]:
    """This environment, in which the bundle is found."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def call(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs the bundle's command line in another process."""
    return subprocess.run(
        command(*arguments, **options),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def events(text: str) -> list[dict[str, Any]]:
    """The events that the bundle wrote to standard output; every line must be JSON."""
    return [json.loads(line) for line in text.splitlines()]


class Scripted(Runner):
    """A runner whose answers a test writes."""

    def __init__(self, answer: Callable[[np.ndarray], Outputs]) -> None:
        self.answer = answer
        self.closed = False

    def describe(self) -> dict[str, Any]:
        return {"runtime": "scripted", "runtime_version": "1", "provider": "", "providers": []}

    def run(self, batch: np.ndarray) -> Outputs:
        return self.answer(batch)

    def close(self) -> None:
        self.closed = True


def nothing(batch: np.ndarray) -> Outputs:
    """The outputs of a network that finds nothing."""
    return Outputs(np.zeros((1, 5), np.float32), np.zeros(1, np.int64), device_ms=1.0)
