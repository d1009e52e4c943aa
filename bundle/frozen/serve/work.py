"""What the engine is asked for, and what comes of it."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any, Dict, List, NamedTuple, Optional, Union

import numpy as np

from bundle.geometry import PictureGeometry
from bundle.preprocess import Canvas


class PictureWork(NamedTuple):
    """A picture as JPEG, PNG, BMP or WebP: the content of its file."""

    data: bytes


class TensorWork(NamedTuple):
    """A network's input, in shape and type of the contract."""

    array: np.ndarray


class PictureResult(NamedTuple):
    """What was found in a picture.

    Args:
        width: Its width in pixels.
        height: Its height in pixels.
        sha256: The digest of its file.
        detections: As `infer` writes them: name, category_id, bbox, score.
    """

    width: int
    height: int
    sha256: str
    detections: List[Dict[str, Any]]


class TensorResult(NamedTuple):
    """A network's outputs: boxes (n, 5) float32 and labels (n,) int32 or int64."""

    boxes: np.ndarray
    labels: np.ndarray


Work = Union[PictureWork, TensorWork]
Result = Union[PictureResult, TensorResult]


class NotReadyError(Exception):
    """There is no device to do it: it loads, is lost, or the server stops."""


class FullError(Exception):
    """The queue is full."""


class LateError(Exception):
    """Its turn did not come in time."""


class Item:
    """Work on its way through the engine.

    Args:
        work: The work.
        deadline: Until when its turn must come, by `time.monotonic`.

    Attributes:
        future: Receives the result, or the exception.
        accepted: When it was accepted, by `time.monotonic`.
    """

    def __init__(self, work: Work, deadline: float) -> None:
        self.work = work
        self.deadline = deadline
        self.future: Future = Future()
        # Whoever waits for it may stop waiting, but cannot cancel it.
        self.future.set_running_or_notify_cancel()
        self.accepted = time.monotonic()
        self.canvas: Optional[Canvas] = None
        self.geometry: Optional[PictureGeometry] = None
        self.sha256 = ""

    def check_deadline(self) -> None:
        """Raises LateError if its turn comes too late."""
        if time.monotonic() > self.deadline:
            raise LateError
