"""Reads an annotation file (COCO's instances format) and checks what evaluation relies on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cascadeport.base.errors import CascadeportError
from cascadeport.base.text import has_surrogates
from cascadeport.config.schema import shortened
from cascadeport.datasets.findings import Findings
from cascadeport.datasets.records import Category, Item

# COCO's boxes are rounded to two decimals, so they may end a little outside of the picture.
_OVERSHOOT_PX = 1.0
_LARGEST_ID = 2**63 - 1
_LARGEST_SIDE = 2**31 - 1
# A float holds integers exactly up to here; a coordinate beyond is damage.
_LARGEST_NUMBER = 2**53
_SURROGATE = "has half a character in it (a lone surrogate)"
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
        path: The file, for errors.
        content: Its bytes.

    Raises:
        CascadeportError: It is not UTF-8, not JSON (with line and column), or another kind of file.
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
        what = "is empty" if not content.strip() else f"is not valid JSON: {error.msg}"
        raise CascadeportError(
            f"The annotation file {what}.",
            where=f"{path}, line {error.lineno}, column {error.colno}",
            next="Is it complete? An interrupted transfer truncates a file.",
        ) from error
    except (ValueError, RecursionError) as error:
        # A number of thousands of digits, or thousands of brackets within each other.
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise CascadeportError(
            f"The annotation file cannot be read: {reason}.", where=str(path), next=_REMEDY
        ) from error
    if isinstance(document, list):
        raise CascadeportError(
            "The annotation file is a list; detections look like that, annotations do not.",
            where=str(path),
            next="Give the file with the keys images, annotations and categories.",
        )
    if not isinstance(document, dict):
        raise CascadeportError(
            "The annotation file is not a JSON object.", where=str(path), next=_REMEDY
        )
    return document


def check(document: dict[str, Any], path: Path, findings: Findings) -> Annotations:
    """Checks a parsed annotation file; all errors are reported together.

    Raises:
        CascadeportError: With every error and its location.
    """
    for key in ("images", "annotations", "categories"):
        if key not in document:
            findings.error(key, "missing")
        elif not isinstance(document[key], list):
            findings.error(key, f"must be a list, it is {_kind(document[key])}")
    _stop(findings, path)
    for key in ("images", "categories"):
        if not document[key]:
            findings.error(key, "the list is empty")
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


def _identity(
    where: str, record: Any, seen: set[int], findings: Findings, least: int = -_LARGEST_ID
) -> int | None:
    """The record's id, or None where it has none that can be used."""
    if not isinstance(record, dict):
        findings.error(where, f"must be an object, it is {_kind(record)}")
        return None
    if "id" not in record:
        findings.error(where, "has no id")
        return None
    number = record["id"]
    if type(number) is not int or abs(number) > _LARGEST_ID:
        findings.error(where, f"id must be a 64-bit integer, it is {shortened(number, 40)}")
        return None
    if number < least:
        findings.error(where, f"id must be {least} or more, it is {number}")
        return None
    if number in seen:
        findings.error(where, f"id {number} is used before")
        return None
    seen.add(number)
    return number


def _images(records: list[Any], findings: Findings) -> dict[int, Item]:
    """Pictures by id. Those with other errors are kept, so that annotations find them."""
    items: dict[int, Item] = {}
    seen: set[int] = set()
    names: set[str] = set()
    for index, record in enumerate(records):
        number = _identity(f"images[{index}]", record, seen, findings, least=0)
        if number is None:
            continue
        where = f"images[{index}] (id {number})"
        sides = []
        for side in ("width", "height"):
            value = record.get(side)
            if type(value) is not int or not 0 < value <= _LARGEST_SIDE:
                what = f"must be 1 to {_LARGEST_SIDE}, it is {shortened(value, 40)}"
                what = "is missing" if value is None else what
                findings.error(where, f"{side} {what}")
                value = 0
            sides.append(value)
        name = record.get("file_name")
        if not isinstance(name, str) or not name:
            findings.error(where, "file_name is missing")
            name = ""
        elif problem := _name_problem(name):
            findings.error(where, f"file_name {shortened(name, 80)} {problem}")
        elif name in names:
            findings.warn("{n} file names are used by more than one picture", where)
        names.add(name)
        items[number] = Item(number, name, sides[0], sides[1])
    return items


def _name_problem(name: str) -> str:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or name[1:3] == ":\\":
        return "is an absolute path; it must be below the pictures' folder"
    if ".." in path.parts:
        return "leads out of the pictures' folder"
    if any(ord(letter) < 32 for letter in name):
        return "has a control character in it"
    if has_surrogates(name):
        return _SURROGATE
    return ""


def _categories(records: list[Any], findings: Findings) -> list[Category]:
    """Categories. Those with other errors are kept, so that annotations find them."""
    categories = []
    seen: set[int] = set()
    names: set[str] = set()
    for index, record in enumerate(records):
        number = _identity(f"categories[{index}]", record, seen, findings)
        if number is None:
            continue
        name = record.get("name")
        if not isinstance(name, str) or not name:
            findings.error(f"categories[{index}] (id {number})", "name is missing")
            name = ""
        elif has_surrogates(name):
            findings.error(f"categories[{index}] (id {number})", f"name {name!r:.80} {_SURROGATE}")
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
        error = self._findings.error
        where = f"annotations[{index}] (id {number})"
        if number == 0:
            self._incomplete("{n} annotation has id 0, which evaluators take for 'none'", where)
        item = None
        picture = record.get("image_id")
        if type(picture) is not int:
            error(where, f"image_id must be an integer, it is {shortened(picture, 40)}")
        elif (item := self._items.get(picture)) is None:
            error(where, f"there is no picture {shortened(picture, 40)}")
        category = record.get("category_id")
        if type(category) is not int:
            error(where, f"category_id must be an integer, it is {shortened(category, 40)}")
        elif category not in self._categories:
            error(where, f"there is no category {shortened(category, 40)}")
        self._box(where, record.get("bbox"), item)
        self._area(where, record.get("area"))
        self._crowd(where, record.get("iscrowd"))

    def _incomplete(self, sentence: str, where: str) -> None:
        self.plain = False
        self._findings.warn(sentence, where)

    def _box(self, where: str, box: Any, item: Item | None) -> None:
        error = self._findings.error
        if box is None:
            error(where, "bbox is missing")
            return
        if not isinstance(box, list):
            error(where, f"bbox must be a list, it is {shortened(box, 40)}")
            return
        if len(box) != 4:
            error(where, f"bbox must be x, y, width, height, it has {len(box)} numbers")
            return
        if not all(map(_finite, box)):
            error(where, f"bbox must hold finite numbers, it is {shortened(box, 80)}")
            return
        x, y, width, height = box
        if width < 0 or height < 0:
            error(where, f"bbox must not have negative sides, it is {shortened(box, 80)}")
            return
        if width == 0 or height == 0:
            # COCO's training pictures have such a box; it can be found by no detection.
            self._findings.warn("{n} boxes have a side of 0", where)
        if item is None or not item.width or not item.height:
            return
        if x > item.width or y > item.height or x + width < 0 or y + height < 0:
            size = f"{item.width}x{item.height}"
            error(where, f"bbox {shortened(box, 80)} is outside of its picture, which is {size}")
        elif (
            min(x, y) < -_OVERSHOOT_PX
            or x + width > item.width + _OVERSHOOT_PX
            or y + height > item.height + _OVERSHOOT_PX
        ):
            self._findings.warn("{n} boxes end outside of their picture", where)

    def _area(self, where: str, area: Any) -> None:
        if area is None:
            self._incomplete("{n} annotations have no area; taken as width times height", where)
        elif not _finite(area) or area < 0:
            self._findings.error(where, f"area must be 0 or more, it is {shortened(area, 40)}")

    def _crowd(self, where: str, crowd: Any) -> None:
        if crowd is None:
            self._incomplete("{n} annotations have no iscrowd; taken as 0", where)
        elif isinstance(crowd, (list, dict)) or crowd not in (0, 1):
            self._findings.error(where, f"iscrowd must be 0 or 1, it is {shortened(crowd, 40)}")
        elif type(crowd) is not int:
            self._incomplete("{n} annotations write iscrowd other than as 0 or 1", where)


def _finite(value: Any) -> bool:
    # Python's JSON reader accepts NaN and Infinity, reads 1e999 as infinity, and an integer of
    # hundreds of digits as it is: no float can hold the sum of that and another number.
    kind = type(value)
    if kind is float:
        return math.isfinite(value)
    return kind is int and abs(value) <= _LARGEST_NUMBER
