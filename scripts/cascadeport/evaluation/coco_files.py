"""Reads and checks COCO's annotation and detection files, and numbers everything from 1.

The COCO API and its ports store 0 for "no match" in arrays of ids, so an object whose annotation
has the id 0 counts as never found (cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py,
`evaluateImg`); and ids above 2**53 are not exact in arrays of float64. Pictures, categories and
annotations are therefore numbered from 1 in the order of their ids. That order breaks ties between
equal scores, so nothing else changes.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, TypedDict

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import read_bytes
from cascadeport.datasets.dataset import ANNOTATIONS_LIMIT
from cascadeport.evaluation.result import Sources

_SHOWN = 20

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Length = Annotated[float, Field(allow_inf_nan=False, ge=0)]
_Box = tuple[_Finite, _Finite, _Length, _Length]
_STRICT = ConfigDict(strict=True, extra="ignore")


@with_config(_STRICT)
class _Image(TypedDict):
    id: int


@with_config(_STRICT)
class _Category(TypedDict):
    id: int
    name: str


@with_config(_STRICT)
class _Annotation(TypedDict):
    id: int
    image_id: int
    category_id: int
    bbox: Annotated[_Box, Field(strict=False)]
    area: NotRequired[_Length | None]
    # Some tools write true and false.
    iscrowd: NotRequired[
        Annotated[
            Annotated[int, Field(ge=0, le=1)] | None,
            BeforeValidator(lambda value: int(value) if isinstance(value, bool) else value),
        ]
    ]


@with_config(_STRICT)
class _Annotations(TypedDict):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


@with_config(_STRICT)
class _Detection(TypedDict):
    image_id: int
    category_id: int
    bbox: Annotated[_Box, Field(strict=False)]
    score: _Finite


_ANNOTATIONS = TypeAdapter(_Annotations)
_DETECTIONS = TypeAdapter(list[_Detection])
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True)
class Numbering:
    """Ids in ascending order, numbered from 1.

    Args:
        ids: The ids.
        number_of: The number of each id.
    """

    ids: tuple[int, ...]
    number_of: Mapping[int, int]

    @classmethod
    def from_ids(cls, ids: Sequence[int]) -> Numbering:
        """Numbers ids in ascending order."""
        ordered = tuple(sorted(set(ids)))
        return cls(ordered, {known: number for number, known in enumerate(ordered, 1)})


@dataclass(frozen=True)
class Objects:
    """The annotations of the expected pictures, n of them, in the order of the file.

    Args:
        pictures, categories: Numbers from 1 (n).
        boxes: x, y, width, height in pixels (n, 4).
        areas: In square pixels (n).
        crowds: 1 for a crowd (n).
    """

    pictures: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    crowds: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Detected:
    """Detections, n of them, in the order of the file.

    Args:
        pictures, categories: Their ids in the data set (n).
        boxes: x, y, width, height in pixels of the picture (n, 4).
        scores: From 0 to 1 (n).
    """

    pictures: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Inputs:
    """The inputs of an evaluation.

    Args:
        pictures: The expected pictures.
        categories: All categories of the annotation file.
        names: The categories' names, by id.
        objects: The ground truth.
        detections: Picture number, x, y, width, height, score, category number (m, 7), in the
            order of the file.
        sources: What they were read from.
    """

    pictures: Numbering
    categories: Numbering
    names: Mapping[int, str]
    objects: Objects
    detections: npt.NDArray[np.float64]
    sources: Sources

    @property
    def detected(self) -> Detected:
        """The detections, by the ids of their pictures and categories."""
        pictures, categories = (
            np.array(numbering.ids, np.int64)[self.detections[:, column].astype(np.int64) - 1]
            for numbering, column in ((self.pictures, 0), (self.categories, 6))
        )
        return Detected(pictures, categories, self.detections[:, 1:5], self.detections[:, 5])


def load(annotations: Path, detections: Path, image_ids: Sequence[int]) -> Inputs:
    """Reads and checks both files.

    Args:
        annotations: COCO's instances format.
        detections: COCO's results format.
        image_ids: The pictures to evaluate, with or without detections.

    Raises:
        CascadeportError: A file cannot be read or breaks its format, an expected picture is not in
            the annotations, or a detection is of a picture that is not expected or of a category
            that is not in the annotations; with their positions.
    """
    try:
        version = [_version(path.stat()) for path in (annotations, detections)]
    except (OSError, ValueError):
        version = []  # Reading them says why.
    return _load(annotations, detections, tuple(image_ids), tuple(version))


def _version(facts: os.stat_result) -> tuple[int, ...]:
    return (facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


# A table reads each of its files several times: for the numbers, the matches and the drawings.
@functools.lru_cache(maxsize=8)
def _load(
    annotations: Path,
    detections: Path,
    image_ids: tuple[int, ...],
    version: tuple[tuple[int, ...], ...],
) -> Inputs:
    if not image_ids:
        raise CascadeportError("There is no picture to evaluate.", where=str(annotations))
    pictures = Numbering.from_ids(image_ids)
    content = read_bytes(annotations, "annotation file", limit=ANNOTATIONS_LIMIT)
    found = read_bytes(detections, "file of detections", limit=ANNOTATIONS_LIMIT)
    truth = _parse(_ANNOTATIONS, content, annotations, "annotation file")
    known = {image["id"] for image in truth["images"]}
    _fail_on(
        (f"picture {one} is not in 'images'" for one in pictures.ids if one not in known),
        "Pictures of this run are missing from the annotation file",
        annotations,
        "Use the annotation file of the data set that was run.",
    )
    categories = Numbering.from_ids([category["id"] for category in truth["categories"]])
    return Inputs(
        pictures=pictures,
        categories=categories,
        names={category["id"]: category["name"] for category in truth["categories"]},
        objects=_objects(truth["annotations"], pictures, categories, annotations),
        detections=_detections(found, detections, pictures, categories),
        sources=Sources(
            annotations=digest.of_bytes(content),
            detections=digest.of_bytes(found),
            pictures=digest.of_value(list(pictures.ids)),
        ),
    )


def _objects(
    records: list[_Annotation], pictures: Numbering, categories: Numbering, path: Path
) -> Objects:
    _fail_on(
        (
            f"annotations[{index}].category_id: there is no category {record['category_id']}"
            for index, record in enumerate(records)
            if record["category_id"] not in categories.number_of
        ),
        "Annotations refer to categories that are not in 'categories'",
        path,
        "Correct the annotation file.",
    )
    kept = [record for record in records if record["image_id"] in pictures.number_of]
    boxes = np.array([record["bbox"] for record in kept], dtype=np.float64).reshape(-1, 4)
    areas = [record.get("area") for record in kept]
    return Objects(
        pictures=np.array(
            [pictures.number_of[record["image_id"]] for record in kept], dtype=np.int64
        ),
        categories=np.array(
            [categories.number_of[record["category_id"]] for record in kept], dtype=np.int64
        ),
        boxes=boxes,
        areas=np.array(
            [
                box[2] * box[3] if area is None else area
                for area, box in zip(areas, boxes, strict=True)
            ],
            dtype=np.float64,
        ),
        crowds=np.array([record.get("iscrowd") or 0 for record in kept], dtype=np.int64),
    )


def _detections(
    content: bytes, path: Path, pictures: Numbering, categories: Numbering
) -> npt.NDArray[np.float64]:
    records = _parse(_DETECTIONS, content, path, "file of detections")
    _fail_on(
        _mismatches(records, pictures, categories),
        "Detections do not belong to this data set",
        path,
        "Detections must come from the evaluated run; run it again.",
    )
    rows = np.empty((len(records), 7), dtype=np.float64)
    if records:
        rows[:, 0] = [pictures.number_of[record["image_id"]] for record in records]
        rows[:, 1:5] = [record["bbox"] for record in records]
        rows[:, 5] = [record["score"] for record in records]
        rows[:, 6] = [categories.number_of[record["category_id"]] for record in records]
    return rows


def _mismatches(
    records: list[_Detection], pictures: Numbering, categories: Numbering
) -> Iterator[str]:
    for index, record in enumerate(records):
        if record["image_id"] not in pictures.number_of:
            yield f"[{index}].image_id: picture {record['image_id']} is not one of this run"
        if record["category_id"] not in categories.number_of:
            yield f"[{index}].category_id: there is no category {record['category_id']}"


def _parse(schema: TypeAdapter[_Parsed], content: bytes, path: Path, what: str) -> _Parsed:
    try:
        return schema.validate_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        _fail_on(
            (_describe(entry) for entry in error.errors(include_url=False)),
            f"The {what} cannot be used",
            path,
            "Is it a complete file in COCO's format? Correct it or generate it again.",
        )
        raise


def _describe(entry: Mapping[str, Any]) -> str:
    position = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in entry["loc"]
    ).lstrip(".")
    given = entry.get("input")
    shown = f" (it is {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    message = str(entry["msg"])
    if entry["type"] in ("json_invalid", "missing"):
        shown = ""
    return f"{position or 'the file'}: {message[0].lower()}{message[1:]}{shown}"


def _fail_on(problems: Iterator[str], what: str, path: Path, remedy: str) -> None:
    found = list(problems)
    if not found:
        return
    shown = found[:_SHOWN]
    if len(found) > _SHOWN:
        shown.append(f"and {len(found) - _SHOWN} more")
    raise CascadeportError(f"{what}.", where=str(path), details=shown, next=remedy)
