"""Whether two evaluators say the same."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cascadeport.evaluation.result import Evaluators

TOLERANCE = 1e-9
"""How far apart two evaluators may be: both compute in double precision."""

Stats = Mapping[str, float | None]


def stats(record: Stats, check: Stats, of: Evaluators) -> list[str]:
    """The numbers in which two evaluators differ, a clause each.

    Args:
        record: The numbers of record.
        check: Those of the evaluator that checks them.
        of: Whose they are.
    """
    return [
        f"{name} is {_shown(value)} by {of.record.title}, {_shown(check[name])} by {of.check.title}"
        for name, value in record.items()
        if not _agree(value, check[name])
    ]


def precision(
    record: npt.NDArray[np.float64], check: npt.NDArray[np.float64], of: Evaluators
) -> list[str]:
    """Whether two evaluators' arrays of precision differ, in a clause.

    Args:
        record: Precision by IoU threshold, recall, category, area and number of detections, of the
            evaluator of record; -1 where it does not exist.
        check: That of the evaluator that checks it.
        of: Whose they are.
    """
    if record.shape == check.shape:
        worst = float(np.abs(record - check).max(initial=0.0))
        # Written this way round, NaN is a difference.
        if worst <= TOLERANCE:
            return []
        return [f"precision differs by {worst:.1e} between {of.record.title} and {of.check.title}"]
    return [f"precision of {of.record.title} and {of.check.title} has different axes"]


def _agree(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= TOLERANCE


def _shown(value: float | None) -> str:
    return "undefined" if value is None else repr(value)
