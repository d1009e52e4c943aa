"""Accuracy by size and by category, each with its interval over pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascadeport.datasets import Dataset
from cascadeport.evaluation import Size
from cascadeport.results import intervals, resampling
from cascadeport.results.intervals import Accuracies, Floats, Interval
from cascadeport.results.result import Result

SIZES: tuple[tuple[Size, str, str], ...] = (
    ("all", "AP", "all objects"),
    ("small", "APs", "small: up to 32²"),
    ("medium", "APm", "medium: 32² to 96²"),
    ("large", "APl", "large: from 96²"),
)


@dataclass(frozen=True)
class Cell:
    """One row's accuracy, and its difference from the first row's.

    Args:
        ap: The accuracy; None: there is no object.
        interval: Its interval over pictures; None: too few pictures, or they are not available.
        delta: The difference from the first row's; None for the first row.
        delta_interval: The interval of the difference, over the same draws of pictures.
    """

    ap: float | None
    interval: Interval | None = None
    delta: float | None = None
    delta_interval: Interval | None = None

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        found = self.delta_interval
        return found is not None and not found.low <= 0 <= found.high


@dataclass(frozen=True)
class AccuracyRow:
    """A size or a category: its name, its number of objects if that is known, a cell per row."""

    name: str
    cells: list[Cell]
    objects: int | None = None


def by_size(shown: Sequence[Result], dataset: Dataset | None) -> list[AccuracyRow]:
    """AP of objects of each size."""
    rows = []
    for size, key, name in SIZES:
        drawn = _drawn(shown, dataset, size)
        values = [result.evaluation.stats[key] for result in shown]
        rows.append(AccuracyRow(name, _cells(values, [one.map if one else None for one in drawn])))
    return rows


def by_category(shown: Sequence[Result], dataset: Dataset | None) -> list[AccuracyRow]:
    """AP of each category that has objects, the highest of the first row first."""
    drawn = _drawn(shown, dataset, "all")
    aps = [{one.id: one.ap for one in result.evaluation.per_category} for result in shown]
    rows = []
    for one in shown[0].evaluation.per_category if shown else []:
        if one.ap is None:
            continue
        cells = _cells([by_id.get(one.id) for by_id in aps], [_of(each, one.id) for each in drawn])
        rows.append(AccuracyRow(one.name, cells, one.annotations))
    return sorted(rows, key=lambda row: (-(row.cells[0].ap or 0.0), row.name))


def _drawn(shown: Sequence[Result], dataset: Dataset | None, size: Size) -> list[Accuracies | None]:
    """The accuracies over draws of pictures; None without pictures or with too few of them."""
    if dataset is None or len(dataset.items) < intervals.FEWEST_PICTURES:
        return [None] * len(shown)
    return [
        resampling.of_result(result, dataset, size) if result.file("detections") else None
        for result in shown
    ]


def _of(drawn: Accuracies | None, category: int) -> Floats | None:
    if drawn is None or category not in drawn.ids:
        return None
    # An interval over the few pictures that have one rare category says nothing.
    if drawn.pictures[category] < intervals.FEWEST_PICTURES:
        return None
    found: Floats = drawn.categories[drawn.ids.index(category)]
    return found


def _cells(values: Sequence[float | None], drawn: Sequence[Floats | None]) -> list[Cell]:
    cells = []
    for number, (value, draws) in enumerate(zip(values, drawn, strict=True)):
        first, base = values[0], drawn[0]
        delta = delta_interval = None
        if number and value is not None and first is not None:
            delta = value - first
            if draws is not None and base is not None:
                delta_interval = intervals.interval(np.asarray(draws - base))
        found = None if draws is None or value is None else intervals.interval(draws)
        cells.append(Cell(value, found, delta, delta_interval))
    return cells
