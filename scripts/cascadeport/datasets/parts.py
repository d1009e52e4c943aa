"""The two halves of a data set: pictures to search on, and pictures that the search has not seen.

Which half a picture is in follows from the sha256 of its id alone: not from the order of ids, which
may be that of cameras or days, and not from a random number that somebody could draw again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cascadeport.datasets.records import Item

SEARCH, HELD_OUT = "search", "held-out"
NAMES = (SEARCH, HELD_OUT)


def of(items: Sequence[Item], part: str) -> tuple[Item, ...]:
    """The pictures of a part, in the order that divides them: of an odd number, one more is held
    out."""
    ordered = sorted(items, key=lambda item: (_rank(item.id), item.id))
    half = len(ordered) // 2
    return tuple(ordered[:half] if part == SEARCH else ordered[half:])


def sizes(count: int) -> tuple[int, int]:
    """How many of `count` pictures are searched on, and how many are held out."""
    return count // 2, count - count // 2


def _rank(number: int) -> str:
    return hashlib.sha256(str(number).encode("ascii")).hexdigest()
