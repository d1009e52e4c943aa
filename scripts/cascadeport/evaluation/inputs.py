"""Reads annotations and detections, checks them, and numbers everything from 1.

Evaluators of the COCO API's family write "0" for "no match" into arrays of ids, so an object whose
annotation has the id 0 counts as never found (cocodataset/cocoapi,
PythonAPI/pycocotools/cocoeval.py, `evaluateImg`); and ids above 2**53 do not survive in arrays of
float64. Pictures, categories and annotations are therefore numbered from 1 in the order of their
ids, which changes nothing else: the order decides between equal scores, and it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, TypedDict

from cascadeport.base.errors import CascadeportError

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
class Numbers:
    """Ids in rising order; the number of an id is its place, counted from 1."""

    ids: tuple[int, ...]
    of: Mapping[int, int]

    @classmethod
    def give(cls, ids: Sequence[int]) -> Numbers:
        """Numbers the ids in rising order."""
        ordered = tuple(sorted(set(ids)))
        return cls(ordered, {number: place for place, number in enumerate(ordered, 1)})


@dataclass(frozen=True)
class Objects:
    """The annotations of the expected pictures, n of them, in the order of the file.

    Args:
        images, categories: Numbers from 1 (n).
        boxes: x, y, width, height in pixels (n, 4).
        areas: In square pixels (n).
        crowds: 1 for a crowd (n).
    """

    images: npt.NDArray[np.int64]
    categories: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]
    areas: npt.NDArray[np.float64]
    crowds: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """What is evaluated.

    Args:
        images: The expected pictures.
        categories: All categories of the annotation file.
        names: Their names, by id.
        objects: What ought to be found.
        detections: Picture number, x, y, width, height, score, category number (m, 7), in the
            order of the file.
    """

    images: Numbers
    categories: Numbers
    names: Mapping[int, str]
    objects: Objects
    detections: npt.NDArray[np.float64]


def load(annotations: Path, detections: Path, image_ids: Sequence[int]) -> Inputs:
    """Reads and checks both files.

    Args:
        annotations: COCO's instances format.
        detections: COCO's results format.
        image_ids: The pictures that count, whether anything was detected in them or not.

    Raises:
        CascadeportError: A file cannot be read or breaks its format, an expected picture is not in
            the annotations, or a detection is of a picture that is not expected or of a category
            that is not in the annotations; with the places.
    """
    if not image_ids:
        raise CascadeportError("There is no picture to evaluate.", where=str(annotations))
    images = Numbers.give(image_ids)
    truth = _parse(_ANNOTATIONS, annotations, "annotation file")
    known = {image["id"] for image in truth["images"]}
    _stop(
        (f"picture {number} is not in 'images'" for number in images.ids if number not in known),
        "Pictures of this run are missing in the annotation file",
        annotations,
        "Use the annotation file of the data set that was run.",
    )
    categories = Numbers.give([category["id"] for category in truth["categories"]])
    return Inputs(
        images=images,
        categories=categories,
        names={category["id"]: category["name"] for category in truth["categories"]},
        objects=_objects(truth["annotations"], images, categories, annotations),
        detections=_detections(detections, images, categories),
    )


def _objects(
    records: list[_Annotation], images: Numbers, categories: Numbers, path: Path
) -> Objects:
    _stop(
        (
            f"annotations[{index}].category_id: there is no category {record['category_id']}"
            for index, record in enumerate(records)
            if record["category_id"] not in categories.of
        ),
        "Annotations have categories that are not in 'categories'",
        path,
        "Correct the annotation file.",
    )
    kept = [record for record in records if record["image_id"] in images.of]
    boxes = np.array([record["bbox"] for record in kept], dtype=np.float64).reshape(-1, 4)
    areas = [record.get("area") for record in kept]
    return Objects(
        images=np.array([images.of[record["image_id"]] for record in kept], dtype=np.int64),
        categories=np.array(
            [categories.of[record["category_id"]] for record in kept], dtype=np.int64
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


def _detections(path: Path, images: Numbers, categories: Numbers) -> npt.NDArray[np.float64]:
    records = _parse(_DETECTIONS, path, "file of detections")
    _stop(
        _strangers(records, images, categories),
        "Detections do not belong to this data set",
        path,
        "Detections must come from the run that is evaluated; run it again.",
    )
    rows = np.empty((len(records), 7), dtype=np.float64)
    if records:
        rows[:, 0] = [images.of[record["image_id"]] for record in records]
        rows[:, 1:5] = [record["bbox"] for record in records]
        rows[:, 5] = [record["score"] for record in records]
        rows[:, 6] = [categories.of[record["category_id"]] for record in records]
    return rows


def _strangers(records: list[_Detection], images: Numbers, categories: Numbers) -> Iterator[str]:
    for index, record in enumerate(records):
        if record["image_id"] not in images.of:
            yield f"[{index}].image_id: picture {record['image_id']} is not one of this run"
        if record["category_id"] not in categories.of:
            yield f"[{index}].category_id: there is no category {record['category_id']}"


def _parse(schema: TypeAdapter[_Parsed], path: Path, what: str) -> _Parsed:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CascadeportError(
            f"The {what} cannot be read: {error.strerror}.",
            where=str(path),
            next="Check the path and its permissions.",
        ) from error
    try:
        return schema.validate_json(content.removeprefix(b"\xef\xbb\xbf"))
    except ValidationError as error:
        _stop(
            (_sentence(fault) for fault in error.errors(include_url=False)),
            f"The {what} cannot be used",
            path,
            "Is it a whole file of COCO's format? Correct it or make it again.",
        )
        raise


def _sentence(fault: Mapping[str, Any]) -> str:
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]
    ).lstrip(".")
    given = fault.get("input")
    shown = f" (it is {given!r})" if isinstance(given, (str, int, float, bool)) else ""
    message = str(fault["msg"])
    if fault["type"] in ("json_invalid", "missing"):
        shown = ""
    return f"{place or 'the file'}: {message[0].lower()}{message[1:]}{shown}"


def _stop(faults: Iterator[str], what: str, path: Path, remedy: str) -> None:
    found = list(faults)
    if not found:
        return
    shown = found[:_SHOWN]
    if len(found) > _SHOWN:
        shown.append(f"and {len(found) - _SHOWN} more")
    raise CascadeportError(f"{what}.", where=str(path), details=shown, next=remedy)
