"""A picture on its way through the pass: prepared, inferred, and who goes through with it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, List, NamedTuple, Union

from bundle.geometry import PictureGeometry
from bundle.job import Picture
from bundle.measure import Times
from bundle.picture import SkippedPicture
from bundle.preprocess import Batch, Canvas
from bundle.runners import Outputs


class Prepared(NamedTuple):
    """A picture that is ready for the network. `sha256` is the digest of its file."""

    picture: Picture
    sha256: str
    geometry: PictureGeometry
    canvas: Canvas
    times: Times


Result = Union["Inferred", SkippedPicture]


class Inferred(NamedTuple):
    """What the network returned for a picture. `times` does not include postprocessing yet."""

    picture: Picture
    sha256: str
    geometry: PictureGeometry
    outputs: Outputs
    times: Times


class Group:
    """Pictures that go through the network together: all of one shape, or a single one.

    Args:
        batch: Their memory.
        lane: Which lane runs them.
    """

    def __init__(self, batch: Batch, lane: int) -> None:
        self.batch = batch
        self.lane = lane
        self.prepared: List[Any] = []
        self.results: Future[List[Result]] = Future()
        self.is_complete = False
        self.unfinished = 0
