"""What changed between two comparisons, cell by cell: new, missing, regressed, improved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cascadeport.datasets import Dataset
from cascadeport.results import intervals, resampling
from cascadeport.results.comparison import Comparison, Row
from cascadeport.results.numbers import number, points
from cascadeport.results.result import Result

Kind = Literal["new", "missing", "regressed", "improved"]
Cell = Literal["row", "status", "verdict", "map", "device_ips", "end_to_end_ips"]

# What a table can show of a difference: half of its last digit.
SMALLEST_POINTS = 0.05
SPEED_TOLERANCE = 0.05
"""A speed has changed by at least this share, and by more than the repeats of either run differ."""
_NUMBERS: tuple[Literal["map", "device_ips", "end_to_end_ips"], ...] = (
    "map",
    "device_ips",
    "end_to_end_ips",
)
_NAMES: Mapping[Cell, str] = {
    "row": "row",
    "status": "status",
    "verdict": "verdict",
    "map": "mAP",
    "device_ips": "device img/s",
    "end_to_end_ips": "end-to-end img/s",
}
_STATUSES = {"invalid": 0, "simulated": 1, "measured": 2}
# Of a row that others are held against there is no verdict: that is no step down from PASS.
_VERDICTS = {"fail": 0, "undecided": 1, None: 2, "pass": 2}


@dataclass(frozen=True)
class Change:
    """A cell that changed.

    Args:
        row: The row's name.
        title: What tables call it.
        cell: Which of its cells.
        kind: How it changed.
        text: Before and after, in words.
    """

    row: str
    title: str
    cell: Cell
    kind: Kind
    text: str

    @property
    def sentence(self) -> str:
        """All of it in a line."""
        return f"{self.title}: {_NAMES[self.cell]} {self.kind}: {self.text}"


@dataclass(frozen=True)
class Side:
    """One of the two comparisons, and the results of its rows by name."""

    table: Comparison
    results: Mapping[str, Result]

    @property
    def rows(self) -> dict[str, Row]:
        """This project's own rows, by name."""
        return {row.target: row for row in self.table.rows if row.status != "published"}


def changes(before: Side, after: Side, dataset: Dataset) -> list[Change]:
    """What changed, in the order of the rows.

    A cell that is the same, or whose difference is within what is measured, is not among them.

    Args:
        before: An earlier comparison.
        after: The later one.
        dataset: The data set of both.
    """
    old, new = before.rows, after.rows
    found = []
    for name, row in new.items():
        if name not in old:
            found.append(Change(name, row.title, "row", "new", _said(row)))
        else:
            found += _of_row(old[name], row, before, after, dataset)
    for name, row in old.items():
        if name not in new:
            found.append(Change(name, row.title, "row", "missing", f"it was {_said(row)}"))
    return found


def _said(row: Row) -> str:
    verdict = f", {row.verdict.upper()}" if row.verdict else ""
    return f"{row.status}{verdict}, mAP {number(row.map, 4)}"


def _of_row(old: Row, new: Row, before: Side, after: Side, dataset: Dataset) -> Iterator[Change]:
    def change(cell: Cell, kind: Kind, text: str) -> Change:
        return Change(new.target, new.title, cell, kind, text)

    kind = _step(_STATUSES[old.status], _STATUSES[new.status])
    if kind:
        reason = f" ({new.reason})" if new.reason else ""
        yield change("status", kind, f"{old.status} to {new.status}{reason}")
    kind = _step(_VERDICTS[old.verdict], _VERDICTS[new.verdict])
    if kind:
        words = [verdict.upper() if verdict else "none" for verdict in (old.verdict, new.verdict)]
        yield change("verdict", kind, f"{words[0]} to {words[1]}")
    for cell in _NUMBERS:
        value, now = getattr(old, cell), getattr(new, cell)
        if (value is None) != (now is None):
            digits = 4 if cell == "map" else 2
            text = f"{number(value, digits)} to {number(now, digits)}"
            yield change(cell, "new" if value is None else "missing", text)
    if old.map is not None and new.map is not None and old.map != new.map:
        text = f"{old.map:.4f} to {new.map:.4f}, {points(new.map - old.map)} points"
        kind, more = _accuracy(old, new, before, after, dataset)
        if kind:
            yield change("map", kind, text + more)
    for cell in _NUMBERS[1:]:
        value, now = getattr(old, cell), getattr(new, cell)
        tolerance = max(
            SPEED_TOLERANCE,
            _spread(before.results.get(old.target), cell),
            _spread(after.results.get(new.target), cell),
        )
        if value and now and abs(now / value - 1) > tolerance:
            text = f"{value:.2f} to {now:.2f}, {now / value - 1:+.0%}"
            yield change(cell, "regressed" if now < value else "improved", text)


def _step(old: int, new: int) -> Kind | None:
    return None if old == new else "regressed" if new < old else "improved"


def _spread(result: Result | None, cell: str) -> float:
    """How far the repeats of a pass are apart, as a share of their mean."""
    repeats = result.run.summary.repeats if result is not None else []
    speeds = [speed for one in repeats if (speed := getattr(one, cell))]
    return (max(speeds) - min(speeds)) / (sum(speeds) / len(speeds)) if speeds else 0.0


def _accuracy(
    old: Row, new: Row, before: Side, after: Side, dataset: Dataset
) -> tuple[Kind | None, str]:
    """How the accuracy changed, if that is beyond what the pictures explain."""
    assert old.map is not None
    assert new.map is not None
    delta = new.map - old.map
    kind: Kind = "regressed" if delta < 0 else "improved"
    if abs(delta) * 100 < SMALLEST_POINTS:
        return None, ""
    one, other = after.results.get(new.target), before.results.get(old.target)
    if one is None or other is None or (new.pictures or 0) < intervals.FEWEST_PICTURES:
        return kind, ""
    found = intervals.paired(
        resampling.of_result(one, dataset), resampling.of_result(other, dataset)
    ).map
    if found is None:
        return kind, ""
    if found.low <= 0 <= found.high:
        return None, ""
    return kind, f", 95 % interval {points(found.low)} to {points(found.high)}"
