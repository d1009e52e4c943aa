"""Checks the values of parsed JSON, and collects all errors instead of stopping at the first."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Sequence, Tuple


class Section:
    """A JSON object to check. Errors are collected, so that all can be reported at once."""

    def __init__(self, data: Dict[str, Any], name: str, errors: List[str]) -> None:
        self._data = data
        self._name = name
        self.errors = errors

    def section(self, key: str) -> Section:
        """An object in this one."""
        value = self._get(key, dict, "an object")
        return Section({} if value is None else value, self._name + key + ".", self.errors)

    def text(self, key: str, choices: Sequence[str] = ()) -> str:
        """A string, one of the choices if there are any."""
        value = self._get(key, str, "a string")
        if value is not None and choices and value not in choices:
            self._error(key, "is {!r}, not one of {}".format(value, ", ".join(choices)))
        return value or ""

    def integer(self, key: str, minimum: int) -> int:
        """An integer that is not below the minimum."""
        value = self._get(key, int, "an integer")
        if value is not None and value < minimum:
            self._error(key, "is {}, less than {}".format(value, minimum))
        return value or 0

    def number(self, key: str) -> float:
        """A finite number."""
        value = self._get(key, (int, float), "a number")
        return float(value or 0.0)

    def numbers(self, key: str, count: int) -> Tuple[float, ...]:
        """That many finite numbers."""
        values = self._get(key, list, "a list")
        if values is None:
            return ()
        if len(values) != count or not all(is_finite(value) for value in values):
            self._error(key, "is not {} numbers".format(count))
            return ()
        return tuple(float(value) for value in values)

    def edges(self, key: str) -> Tuple[int, int]:
        """Two lengths in pixels, (1, 1) if they are invalid."""
        values = self._get(key, list, "a list")
        if values is None:
            return (1, 1)
        if not _are_edges(values):
            self._error(key, "is not two integers above 0")
            return (1, 1)
        return (values[0], values[1])

    def shapes(self, key: str) -> Tuple[Tuple[int, int], ...]:
        """Several [height, width], none of them twice."""
        values = self._get(key, list, "a list")
        if values is None:
            return ()
        if not values or not all(_are_edges(value) for value in values):
            self._error(key, "is not a list of [height, width], integers above 0")
            return ()
        if len({tuple(value) for value in values}) != len(values):
            self._error(key, "contains a shape twice")
        return tuple((height, width) for height, width in values)

    def objects(self, key: str) -> List[Section]:
        """A list of objects."""
        values = self._get(key, list, "a list")
        sections = []
        for index, value in enumerate(values or []):
            name = "{}{}[{}]".format(self._name, key, index)
            if isinstance(value, dict):
                sections.append(Section(value, name + ".", self.errors))
            else:
                self.errors.append(name + " is not an object")
        return sections

    def flag(self, key: str) -> bool:
        """True or false."""
        return bool(self._get(key, bool, "true or false"))

    def has(self, key: str) -> bool:
        """Whether there is such a key."""
        return key in self._data

    def optional(self, key: str, default: Any) -> Any:
        """Whatever is there, unchecked."""
        return self._data.get(key, default)

    def _get(self, key: str, kind: Any, description: str) -> Any:
        value = self._data.get(key)
        if key not in self._data:
            self._error(key, "is missing")
        elif not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self._error(key, "is not " + description)
        elif isinstance(value, (int, float)) and not is_finite(value):
            self._error(key, "is not finite")
        else:
            return value
        return None

    def _error(self, key: str, text: str) -> None:
        self.errors.append("{}{} {}".format(self._name, key, text))


def is_finite(value: Any) -> bool:
    """Whether it is a number that is neither infinite nor NaN."""
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def _are_edges(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and all(isinstance(edge, int) and edge is not True and edge > 0 for edge in value)
    )
