"""The reference of the gate: what accuracies are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError
from cascadeport.config.gate import Gate
from cascadeport.results import comparison, resampling
from cascadeport.results.collate import Known
from cascadeport.results.comparison import Comparison
from cascadeport.results.intervals import Accuracies
from cascadeport.results.numbers import number
from cascadeport.results.published import REFERENCE, PublishedFigures
from cascadeport.results.result import Result

# A published number has three or four digits.
_ROUNDING = 0.0006


@dataclass(frozen=True)
class Reference:
    """What accuracies are held against.

    Args:
        title: Its name in tables.
        map: Its mAP on these pictures.
        accuracies: Its accuracies in each draw; None where only a number was published.
        target: The row that it is; None: it was published.
    """

    title: str
    map: float
    accuracies: Accuracies | None = None
    target: str | None = None


class UnusableError(Exception):
    """Nothing can be held against a reference."""


def find(
    gate: Gate,
    table: Comparison,
    results: Mapping[str, Result],
    published: Sequence[PublishedFigures],
    known: Known,
) -> Reference | None:
    """The reference of a gate; None where there is neither a published nor a measured one.

    Args:
        gate: What was declared.
        table: The comparison.
        results: The results by row.
        published: The published figures.
        known: What the rows were checked against.

    Raises:
        UnusableError: What was published with the reference is not what it should be.
    """
    if gate.reference == "published":
        for figures in published:
            if figures.target != REFERENCE or figures.map is None:
                continue
            if figures.detections is not None:
                return _published_detections(figures, known)
            if figures.comparable:
                return Reference(figures.title, figures.map)
    anchor = comparison.anchor(table.rows, results)
    if anchor is None or anchor.map is None:
        return None
    return Reference(
        anchor.title, anchor.map, resampling.of_result(anchor, known.dataset), anchor.target
    )


def _published_detections(figures: PublishedFigures, known: Known) -> Reference:
    assert figures.detections is not None
    assert figures.map is not None
    try:
        evaluated, accuracies = resampling.of_file(figures.detections, known.dataset)
    except CascadeportError as error:
        # A pass may have taken hours: its table is written all the same.
        details = "".join(f" {detail}" for detail in error.details[:1])
        raise UnusableError(
            f"the published detections ({figures.detections.name}) cannot be used: "
            f"{error.what}{details}"
        ) from error
    if figures.comparable and (evaluated is None or abs(evaluated - figures.map) > _ROUNDING):
        raise UnusableError(
            f"the published accuracy is {figures.map:g}, but its detections have "
            f"{number(evaluated, 4)} on these pictures: they are not those that it is of"
        )
    if evaluated is None:
        raise UnusableError("these pictures have no objects")
    return Reference(figures.title, evaluated, accuracies)
