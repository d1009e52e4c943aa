"""Which picture to look at, and what the network takes and gives for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bundle.errors import BundleError
from bundle.geometry import PictureGeometry, fit
from bundle.job import Job, check_job
from bundle.picture import read_picture
from bundle.postprocess import coco_rows, locate
from bundle.preprocess import Canvas, Preprocessor
from cascadeport.base.errors import CascadeportError
from cascadeport.config.cards import Shape
from cascadeport.datasets import Dataset
from cascadeport.graph.matching import Detections, match


@dataclass(frozen=True)
class Chosen:
    """The picture to look at.

    Attributes:
        id: Its id in the data set.
        file: Its file below the folder of pictures.
        why: Why it was chosen.
    """

    id: int
    file: str
    why: str


def choose(
    dataset: Dataset,
    first: Mapping[int, Sequence[Mapping[str, Any]]],
    second: Mapping[int, Sequence[Mapping[str, Any]]],
    wanted: int | None,
) -> Chosen:
    """The requested picture, or the one whose detections differ most.

    A detection that only one row has counts with its score; one that both have, with the
    difference of the scores and with what the overlap lacks, times the score.

    Raises:
        CascadeportError: There is no picture of the requested id.
    """
    files = {item.id: item.file for item in dataset.items}
    if wanted is not None:
        if wanted not in files:
            raise CascadeportError(
                f"The data set has no picture {wanted}; "
                f"its ids are from {min(files)} to {max(files)}.",
                where=f"--picture {wanted}",
                next="Ids are those of the annotation file.",
            )
        return Chosen(wanted, files[wanted], "as requested")
    apart = {one: _apart(first.get(one, ()), second.get(one, ())) for one in files}
    chosen = max(apart, key=lambda one: (apart[one], -one))
    why = "its detections differ most" if apart[chosen] else "no picture's detections differ"
    return Chosen(chosen, files[chosen], why)


def _apart(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> float:
    one, other = _arrays(first), _arrays(second)
    if not len(one[1]) and not len(other[1]):
        return 0.0
    found = match(one, other)
    sizes = np.maximum(one[0][found.rows, 2:4] - one[0][found.rows, :2], 1.0).max(axis=1)
    moved = np.minimum(found.boxes / sizes, 1.0) * one[0][found.rows, 4]
    return float(found.missing.sum() + found.extra.sum() + found.scores.sum() + moved.sum())


def _arrays(detections: Sequence[Mapping[str, Any]]) -> Detections:
    rows = np.zeros((len(detections), 5))
    for row, one in zip(rows, detections, strict=True):
        x, y, width, height = one["bbox"]
        row[:] = x, y, x + width, y + height, one["score"]
    return rows, np.array([one["category_id"] for one in detections], np.int64)


class Pictures:
    """The pictures of a data set as the networks of a job take them.

    Args:
        job: The job of a row; its pictures' folder may be that of a container.
        dataset: Where the pictures are here.
    """

    def __init__(self, job: Mapping[str, Any], dataset: Dataset) -> None:
        data = dict(job)
        data["pictures"] = {**job.get("pictures", {}), "root": str(dataset.pictures_dir.resolve())}
        try:
            self.job: Job = check_job(data, str(dataset.root))
        except BundleError as error:
            raise _plainly(error) from None
        self._by_id = {one.id: one for one in self.job.pictures}
        self._preprocessor = Preprocessor(self.job.preprocess)
        self.ids = [one.id for one in self.job.pictures]

    def geometry(self, picture: int) -> PictureGeometry:
        """Where a picture lies in the network's input."""
        return fit(self._by_id[picture], self.job.preprocess)

    def shape(self, picture: int) -> Shape:
        """Rows and columns of the input that a picture uses."""
        found = self.geometry(picture).shape
        return (found.height, found.width)

    def read(self, picture: int) -> NDArray[Any]:
        """A picture as the network takes it.

        Raises:
            CascadeportError: It cannot be read.
        """
        one = self._by_id[picture]
        canvas = Canvas(self.job.preprocess)
        try:
            image = read_picture(str(Path(self.job.root) / one.file), one)
        except BundleError as error:
            raise _plainly(error) from None
        self._preprocessor.prepare(image, self.geometry(picture), canvas)
        return np.array(canvas.array)

    def located(self, picture: int, detections: Detections) -> list[dict[str, Any]]:
        """Detections in the network's input as COCO results in the picture."""
        boxes, labels = detections
        found = locate(boxes, labels, self.geometry(picture), self.job)
        return coco_rows(found, picture, self.job)

    def as_float(self, array: NDArray[Any]) -> NDArray[Any]:
        """A uint8 input normalised as a float32 one, for graphs that are normalised before."""
        settings = replace(self.job.preprocess, dtype="float32")
        mean, std = (np.asarray(part, np.float32) for part in (settings.mean, settings.std))
        return np.ascontiguousarray(((array - mean) / std).astype(np.float32).transpose(0, 3, 1, 2))


def _plainly(error: BundleError) -> CascadeportError:
    return CascadeportError(
        str(getattr(error, "what", error)),
        where=str(getattr(error, "where", "")),
        next=str(getattr(error, "next", "")),
    )
