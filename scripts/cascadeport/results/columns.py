"""The columns of the comparison, and what a row has in them, in every form of the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cascadeport.base.text import printable
from cascadeport.results.comparison import Comparison, Row
from cascadeport.results.numbers import NONE, number, points


@dataclass(frozen=True)
class Column:
    """A column.

    Args:
        head: Its name, in the lines that a narrow table breaks it into.
        cell: What a row has in it; NONE: nothing.
        rank: Where there is no room for all of them, those of low rank stay.
        is_number: Whether cells are aligned at their right.
    """

    head: tuple[str, ...]
    cell: Callable[[Row], str]
    rank: int
    is_number: bool = True

    @property
    def name(self) -> str:
        """Its name in one line."""
        return " ".join(self.head)


def of(comparison: Comparison) -> list[Column]:
    """The columns of a comparison: those that at least one row has something in."""
    return [
        column
        for column in _COLUMNS
        if column.rank == 0 or any(column.cell(row) != NONE for row in comparison.rows)
        if column is not _CHIP or comparison.chips
    ]


def title(comparison: Comparison) -> str:
    """What is compared: model, data set, how many pictures, and the input if it is one."""
    model, dataset = comparison.model, comparison.dataset
    name = str(model.get("title") or model.get("name") or "Comparison")
    where = str(dataset.get("name", ""))
    if dataset.get("pictures"):
        where += f", {dataset['pictures']} pictures"
    if len(comparison.inputs) == 1:
        where += f", input {comparison.inputs[0]}"
    return one_line(f"{name} on {where}" if where else name)


def one_line(text: str) -> str:
    """A text for one line of a terminal: safe, and without line ends."""
    return printable(" ".join(text.split()))


def _verdict(row: Row) -> str:
    if row.verdict is not None:
        return row.verdict.upper()
    return "reference" if row.checks else NONE


def _status(row: Row) -> str:
    return "INVALID" if row.status == "invalid" else row.status


def _interval(row: Row) -> str:
    if row.delta_low is None or row.delta_high is None:
        return NONE
    return f"{points(row.delta_low)} to {points(row.delta_high)}"


def _latency(key: str) -> Callable[[Row], str]:
    return lambda row: number(getattr(row.latency_ms, key) if row.latency_ms else None, 2)


_CHIP = Column(("chip", "img/s"), lambda row: number(row.chip_ips, 2), 9)
_COLUMNS = (
    Column(("target",), lambda row: one_line(row.title), 0, is_number=False),
    Column(("verdict",), _verdict, 1, is_number=False),
    Column(("status",), _status, 0, is_number=False),
    Column(("mAP",), lambda row: number(row.map, 3), 0),
    Column(("Δ mAP,", "points"), lambda row: points(row.delta_map), 2),
    Column(("95 %", "interval"), _interval, 8),
    Column(("mAP50",), lambda row: number(row.map50, 3), 10),
    Column(("mAP75",), lambda row: number(row.map75, 3), 11),
    Column(("pictures",), lambda row: number(row.pictures, 0), 7),
    _CHIP,
    Column(("device", "img/s"), lambda row: number(row.device_ips, 2), 3),
    Column(("end-to-end", "img/s"), lambda row: number(row.end_to_end_ips, 2), 4),
    Column(("measured /", "published"), lambda row: number(row.published_ratio, 2), 5),
    Column(("latency", "mean ms"), _latency("mean"), 6),
    Column(("p50",), _latency("p50"), 12),
    Column(("p90",), _latency("p90"), 13),
    Column(("p99",), _latency("p99"), 14),
    Column(("device", "time of"), lambda row: row.device_time or NONE, 15, is_number=False),
)
