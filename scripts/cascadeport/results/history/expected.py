"""The file of expected differences: known failures, each with its reason.

[[expected]]
row = "310P3"              # the row's name
cell = "map"               # which cell; without it, all of the row's
change = "regressed"       # or "missing"; without it, both
reason = "500 proposals since 2026-11, agreed on in the minutes of the 12th"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from cascadeport.base.errors import CascadeportError
from cascadeport.config.schema import Line, Strict, as_tuple, read_toml, validate
from cascadeport.results.history.changes import Cell, Change


class Expected(Strict):
    """One expected difference."""

    row: Line
    cell: Cell | None = None
    change: Literal["regressed", "missing"] | None = None
    reason: Line

    def covers(self, change: Change) -> bool:
        """Whether it expects a change."""
        return (
            self.row == change.row
            and self.cell in (None, change.cell)
            and self.change in (None, change.kind)
        )


class _File(Strict):
    expected: Annotated[tuple[Expected, ...], BeforeValidator(as_tuple)] = ()


@dataclass(frozen=True)
class Judged:
    """Changes for the worse that nobody expected, expected ones, the others, and idle entries.

    Args:
        worse: Missing and regressed cells without a reason.
        known: Those with one, and the reason.
        others: New and improved cells.
        idle: Expected differences that are not there.
    """

    worse: tuple[Change, ...] = ()
    known: tuple[tuple[Change, str], ...] = ()
    others: tuple[Change, ...] = ()
    idle: tuple[Expected, ...] = ()


def load(path: Path) -> tuple[Expected, ...]:
    """Reads a file of expected differences.

    Raises:
        CascadeportError: With every error in it.
    """
    what = "file of expected differences"
    try:
        return validate(_File, read_toml(path, what), where=str(path), what=what).expected
    except CascadeportError as error:
        error.next = error.next or "docs/history.md shows one."
        raise


def judge(found: Sequence[Change], expected: Sequence[Expected]) -> Judged:
    """Sorts changes by whether they are for the worse, and whether that was expected."""
    worse, known, others = [], [], []
    used = set()
    for change in found:
        if change.kind not in ("missing", "regressed"):
            others.append(change)
            continue
        covering = [place for place, one in enumerate(expected) if one.covers(change)]
        used.update(covering)
        if covering:
            known.append((change, expected[covering[0]].reason))
        else:
            worse.append(change)
    idle = [one for place, one in enumerate(expected) if place not in used]
    return Judged(tuple(worse), tuple(known), tuple(others), tuple(idle))
