"""What two JSON values differ in, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SHOWN = 3
_LONGEST = 60


def differences(stated: Any, computed: Any, name: str = "") -> list[str]:
    """The first differences of two values, each with its path: `map is 0.999, not 0.713`.

    Args:
        stated: What a file says.
        computed: What was computed again.
        name: What their paths begin with.
    """
    found: list[str] = []
    for one in _walk(stated, computed, name):
        if len(found) == _SHOWN:
            return [*found[:-1], f"{found[-1]} and more"]
        found.append(one)
    return found


def _walk(stated: Any, computed: Any, name: str) -> Iterator[str]:
    if isinstance(stated, dict) and isinstance(computed, dict):
        for key in {**computed, **stated}:
            inner = f"{name}.{key}" if name else str(key)
            yield from _walk(stated.get(key), computed.get(key), inner)
    elif isinstance(stated, list) and isinstance(computed, list) and len(stated) == len(computed):
        for index, (one, other) in enumerate(zip(stated, computed, strict=True)):
            yield from _walk(one, other, f"{name}[{index}]")
    elif stated != computed or isinstance(stated, bool) != isinstance(computed, bool):
        yield f"{name} is {_shown(stated)}, not {_shown(computed)}"


def _shown(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{len(value)} values"
    text = "missing" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
