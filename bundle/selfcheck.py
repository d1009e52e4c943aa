"""The self-check: an image's health check, without a picture file, a network or a device."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import cv2
import numpy as np

from bundle.digest import bundle_digest
from bundle.environment import versions
from bundle.errors import PictureError
from bundle.geometry import PictureGeometry, fit
from bundle.job import FORMAT, Job, Picture, check_job
from bundle.picture import decode
from bundle.postprocess import check_outputs, locate
from bundle.preprocess import Canvas, Preprocessor, resize
from bundle.runners import runner_module, runner_names

# Landscape, enlarged, and too wide for the first of the inputs.
_PICTURE = Picture(id=1, file="self check", width=40, height=31)
_SHAPES = [[96, 64], [80, 96]]


def selfcheck() -> Dict[str, Any]:
    """Runs the checks.

    Returns:
        `ok`, `bundle` (digest), `versions`, `runtimes` (version, or null where not installed) and
        `checks`: a list of `{"name", "ok", "detail"}`.
    """
    checks: List[Tuple[str, Callable[[], None]]] = [
        ("a lossless picture is decoded without a change", _check_decoding),
        ("a JPEG that lacks pixel data is noticed", _check_damage),
        ("the network input is normalised and padded", _check_preprocessing),
        ("a box is mapped back to where it was", _check_round_trip),
    ]
    results = [_result(name, check) for name, check in checks]
    return {
        "ok": all(one["ok"] for one in results),
        "bundle": bundle_digest(),
        "versions": versions(),
        "runtimes": {name: _runtime_version(name) for name in runner_names()},
        "checks": results,
    }


def _result(name: str, check: Callable[[], None]) -> Dict[str, Any]:
    try:
        check()
    except Exception as failure:  # whatever it is, the health check has failed
        return {"name": name, "ok": False, "detail": str(failure) or type(failure).__name__}
    return {"name": name, "ok": True, "detail": ""}


def _check_decoding() -> None:
    image = _image()
    data = cv2.imencode(".png", image)[1].tobytes()
    if not np.array_equal(decode(data, _PICTURE, _PICTURE.file), image):
        raise ValueError("pixels changed")


def _check_damage() -> None:
    """What notices it depends on OpenCV and on the kernel: see decoder.py."""
    data = cv2.imencode(".jpg", _image())[1].tobytes()
    decode(data, _PICTURE, _PICTURE.file)
    try:
        with _silence():
            decode(data[: len(data) * 3 // 4] + data[-2:], _PICTURE, _PICTURE.file)
    except PictureError:
        return
    raise ValueError("it was decoded without an error")


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Drops what is printed to standard error, so that an expected warning alarms nobody."""
    original = os.dup(2)
    with open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)


def _check_preprocessing() -> None:
    """Compares the lookup table with plain arithmetic in float64, and the padding with 0."""
    job, image = _job(), _image()
    geometry, canvas = _prepare(job, image)
    edges = (geometry.resized_width, geometry.resized_height)
    resized = np.empty((edges[1], edges[0], 3), np.uint8)
    resize(image, resized)
    wanted = (resized[:, :, ::-1] - np.array(job.preprocess.mean)) / np.array(job.preprocess.std)
    bottom, right = geometry.top + edges[1], geometry.left + edges[0]
    inside = canvas.array[0, :, geometry.top : bottom, geometry.left : right].copy()
    if np.abs(inside - wanted.transpose(2, 0, 1)).max() > 1e-5:
        raise ValueError("values differ from (x - mean) / std")
    canvas.array[0, :, geometry.top : bottom, geometry.left : right] = 0
    if canvas.array.any():
        raise ValueError("the padding is not zero")


def _check_round_trip() -> None:
    job = _job()
    geometry, _ = _prepare(job, _image())
    box = np.array([3.0, 5.0, 30.0, 28.0])
    scale = np.array([geometry.scale_x, geometry.scale_y] * 2)
    moved = box * scale + np.array([geometry.left, geometry.top] * 2)
    boxes = np.zeros((2, 5), np.float32)
    boxes[0] = np.append(moved, 0.5)
    labels = np.zeros(2, np.int64)
    check_outputs(boxes, labels, job, _PICTURE.file)
    found = locate(boxes, labels, geometry, job)
    if found.boxes.shape != (1, 4) or np.abs(found.boxes[0] - box).max() > 1e-3:
        raise ValueError("{} became {}".format(box.tolist(), found.boxes.tolist()))


def _prepare(job: Job, image: np.ndarray) -> Tuple[PictureGeometry, Canvas]:
    geometry = fit(_PICTURE, job.preprocess)
    canvas = Canvas(job.preprocess)
    Preprocessor(job.preprocess).prepare(image.copy(), geometry, canvas)
    return geometry, canvas


def _image() -> np.ndarray:
    """A picture that contains every byte value: (height, width, 3) uint8."""
    count = _PICTURE.height * _PICTURE.width * 3
    values = np.arange(count, dtype=np.int64) * 7919 % 256
    return values.astype(np.uint8).reshape(_PICTURE.height, _PICTURE.width, 3)


def _job() -> Job:
    return check_job(
        {
            "format": FORMAT,
            "networks": [{"path": "none", "sha256": ""}] * len(_SHAPES),
            "input": {
                "name": "input",
                "dtype": "float32",
                "shapes": _SHAPES,
                "resize": [90, 64],
            },
            "outputs": {"boxes": "boxes", "labels": "labels"},
            "preprocess": {
                "mean": [123.675, 116.28, 103.53],
                "std": [58.395, 57.12, 57.375],
                "channels": "rgb",
                "padding": "centre",
            },
            "postprocess": {"score_threshold": 0.05, "max_detections": 100},
            "classes": [{"name": "thing", "category_id": 1}],
            "pictures": {
                "root": "",
                "items": [
                    {
                        "id": _PICTURE.id,
                        "file": _PICTURE.file,
                        "width": _PICTURE.width,
                        "height": _PICTURE.height,
                    }
                ],
            },
            "runner": {"name": "none", "threads": 1},
            "stream": {"workers": 1, "queue": 1},
            "measure": {"warmup": 0, "repeats": 1, "repeat_pictures": 1},
            "keep_going": False,
            "draw": 0,
        },
        "",
        "self check",
    )


def _runtime_version(runner: str) -> Optional[str]:
    try:
        return str(runner_module(runner).version())
    except ImportError:
        return None
