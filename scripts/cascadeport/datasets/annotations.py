"""Reads an annotation file (COCO's instances format) and checks what evaluation relies on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cascadeport.base.errors import CascadeportError
from cascadeport.datasets.findings import Findings
from cascadeport.datasets.records import Category, Item

# COCO's boxes are rounded to two decimals, so they may end a little outside of the picture.
_OVERSHOOT_PX = 1.0
_LARGEST_ID = 2**63 - 1
_REMEDY = "Correct the annotation file; docs/datasets.md says what is expected of it."


@dataclass(frozen=True)
class Annotations:
    """A checked annotation file.

    Args:
        items: The pictures, by id.
        categories: The categories, by id.
        plain: Whether evaluators can read the file as it is.
    """

    items: tuple[Item, ...]
    categories: tuple[Category, ...]
    plain: bool


def read(path: Path, content: bytes) -> dict[str, Any]:
    """Parses an annotation file.

    Args:
        path: Where it stands, for errors.
        content: Its bytes.

    Raises:
        CascadeportError: It is no UTF-8, no JSON (with line and column), or another kind of file.
    """
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CascadeportError(
            "The annotation file is not UTF-8 text.",
            where=f"{path}, line {line}, byte {error.start}",
            next="Save it as UTF-8.",
        ) from error
    except json.JSONDecodeError as error:
        what = "is empty" if not content.strip() else f"is no JSON: {error.msg}"
        raise CascadeportError(
            f"The annotation file {what}.",
            where=f"{path}, line {error.lineno}, column {error.colno}",
            next="Is it a whole file? A transfer that broke leaves half of one.",
        ) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets within each other.
        raise CascadeportError(
            f"The annotation file cannot be read: {error}.", where=str(path), next=_REMEDY
        ) from error
    if isinstance(document, list):
        raise CascadeportError(
            "The annotation file is a list; detections look like that, annotations do not.",
            where=str(path),
            next="Give the file with the keys images, annotations and categories.",
        )
    if not isinstance(document, dict):
        raise CascadeportError("The annotation file is no JSON object.", where=str(path))
    return document


def check(document: dict[str, Any], path: Path, findings: Findings) -> Annotations:
    """Checks a parsed annotation file; every fault is found before the first is told.

    Raises:
        CascadeportError: With the faults and their places.
    """
    for key in ("images", "annotations", "categories"):
        if key not in document:
            findings.fault(key, "missing")
        elif not isinstance(document[key], list):
            findings.fault(key, f"must be a list, it is {_kind(document[key])}")
    _stop(findings, path)
    for key in ("images", "categories"):
        if not document[key]:
            findings.fault(key, "the list is empty")
    items = _images(document["images"], findings)
    categories = _categories(document["categories"], findings)
    checker = _Boxes(items, {category.id for category in categories}, findings)
    for index, record in enumerate(document["annotations"]):
        checker.check(index, record)
    if not document["annotations"]:
        findings.warn("There is not a single annotation: no accuracy can be computed")
    _stop(findings, path)
    return Annotations(
        items=tuple(sorted(items.values(), key=lambda item: item.id)),
        categories=tuple(sorted(categories, key=lambda category: category.id)),
        plain=checker.plain,
    )


def _stop(findings: Findings, path: Path) -> None:
    findings.stop("The annotation file", where=str(path), next=_REMEDY)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    return "null" if value is None else names.get(type(value), "a number")


def _identity(place: str, record: Any, seen: set[int], findings: Findings) -> int | None:
    """The record's id, or None where it has none that can be used."""
    if not isinstance(record, dict):
        findings.fault(place, f"must be an object, it is {_kind(record)}")
        return None
    if "id" not in record:
        findings.fault(place, "has no id")
        return None
    number = record["id"]
    if type(number) is not int or abs(number) > _LARGEST_ID:
        findings.fault(place, f"id must be a whole number of 64 bits, it is {number!r:.40}")
        return None
    if number in seen:
        findings.fault(place, f"id {number} is used before")
        return None
    seen.add(number)
    return number


def _images(records: list[Any], findings: Findings) -> dict[int, Item]:
    """Pictures by id. Those with other faults are kept, so that annotations find them."""
    items: dict[int, Item] = {}
    seen: set[int] = set()
    names: set[str] = set()
    for index, record in enumerate(records):
        number = _identity(f"images[{index}]", record, seen, findings)
        if number is None:
            continue
        place = f"images[{index}] (id {number})"
        sides = []
        for side in ("width", "height"):
            value = record.get(side)
            if type(value) is not int or value <= 0:
                what = "is missing" if value is None else f"must be 1 or more, it is {value!r:.40}"
                findings.fault(place, f"{side} {what}")
                value = 0
            sides.append(value)
        name = record.get("file_name")
        if not isinstance(name, str) or not name:
            findings.fault(place, "file_name is missing")
            name = ""
        elif fault := _name_fault(name):
            findings.fault(place, f"file_name {name!r:.80} {fault}")
        elif name in names:
            findings.warn("{n} file names are used by more than one picture", place)
        names.add(name)
        items[number] = Item(number, name, sides[0], sides[1])
    return items


def _name_fault(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or name[1:3] == ":\\":
        return "is an absolute path; it must be below the pictures' folder"
    if ".." in path.parts:
        return "leads out of the pictures' folder"
    if any(ord(letter) < 32 for letter in name):
        return "has a control character in it"
    if any("\ud800" <= letter <= "\udfff" for letter in name):
        return "has half a character in it (a lone surrogate)"
    return ""


def _categories(records: list[Any], findings: Findings) -> list[Category]:
    """Categories. Those with other faults are kept, so that annotations find them."""
    categories = []
    seen: set[int] = set()
    names: set[str] = set()
    for index, record in enumerate(records):
        number = _identity(f"categories[{index}]", record, seen, findings)
        if number is None:
            continue
        name = record.get("name")
        if not isinstance(name, str) or not name:
            findings.fault(f"categories[{index}] (id {number})", "name is missing")
            name = ""
        elif name in names:
            findings.warn("{n} categories share their name with another", f"'{name}'")
        names.add(name)
        categories.append(Category(number, name))
    return categories


class _Boxes:
    """Checks annotations one by one against pictures and categories."""

    def __init__(self, items: dict[int, Item], categories: set[int], findings: Findings) -> None:
        self.plain = True
        self._items = items
        self._categories = categories
        self._findings = findings
        self._seen: set[int] = set()

    def check(self, index: int, record: Any) -> None:
        number = _identity(f"annotations[{index}]", record, self._seen, self._findings)
        if number is None:
            return
        fault = self._findings.fault
        place = f"annotations[{index}] (id {number})"
        if number == 0:
            self._mend("{n} annotation has id 0, which evaluators take for 'none'", place)
        item = None
        picture = record.get("image_id")
        if type(picture) is not int:
            fault(place, f"image_id must be a whole number, it is {picture!r:.40}")
        elif (item := self._items.get(picture)) is None:
            fault(place, f"there is no picture {picture}")
        category = record.get("category_id")
        if type(category) is not int:
            fault(place, f"category_id must be a whole number, it is {category!r:.40}")
        elif category not in self._categories:
            fault(place, f"there is no category {category}")
        self._box(place, record.get("bbox"), item)
        self._area(place, record.get("area"))
        self._crowd(place, record.get("iscrowd"))

    def _mend(self, sentence: str, place: str) -> None:
        self.plain = False
        self._findings.warn(sentence, place)

    def _box(self, place: str, box: Any, item: Item | None) -> None:
        fault = self._findings.fault
        if box is None:
            fault(place, "bbox is missing")
            return
        if not isinstance(box, list):
            fault(place, f"bbox must be a list, it is {box!r:.40}")
            return
        if len(box) != 4:
            fault(place, f"bbox must be x, y, width, height, it has {len(box)} numbers")
            return
        if not all(map(_finite, box)):
            fault(place, f"bbox must hold finite numbers, it is {box!r:.80}")
            return
        x, y, width, height = box
        if width < 0 or height < 0:
            fault(place, f"bbox must not have negative sides, it is {box!r:.80}")
            return
        if width == 0 or height == 0:
            # COCO's training pictures have such a box; it can be found by no detection.
            self._findings.warn("{n} boxes have a side of 0", place)
        if item is None or not item.width or not item.height:
            return
        if x > item.width or y > item.height or x + width < 0 or y + height < 0:
            size = f"{item.width}x{item.height}"
            fault(place, f"bbox {box!r:.80} is outside of its picture, which is {size}")
        elif (
            min(x, y) < -_OVERSHOOT_PX
            or x + width > item.width + _OVERSHOOT_PX
            or y + height > item.height + _OVERSHOOT_PX
        ):
            self._findings.warn("{n} boxes end outside of their picture", place)

    def _area(self, place: str, area: Any) -> None:
        if area is None:
            self._mend("{n} annotations have no area; taken as width times height", place)
        elif not _finite(area) or area < 0:
            self._findings.fault(place, f"area must be 0 or more, it is {area!r:.40}")

    def _crowd(self, place: str, crowd: Any) -> None:
        if crowd is None:
            self._mend("{n} annotations have no iscrowd; taken as 0", place)
        elif crowd not in (0, 1):
            self._findings.fault(place, f"iscrowd must be 0 or 1, it is {crowd!r:.40}")
        elif type(crowd) is not int:
            self._mend("{n} annotations write iscrowd other than as 0 or 1", place)


def _finite(value: Any) -> bool:
    # Python's JSON reader accepts NaN and Infinity, and reads 1e999 as infinity.
    kind = type(value)
    return kind is int or (kind is float and math.isfinite(value))
