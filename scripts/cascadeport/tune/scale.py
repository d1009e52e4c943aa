"""What the frontier's drawings share: the range of their axes, and what is drawn in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cascadeport.tune.record import Frontier, PointRecord

# Points that lose more than this many budgets are drawn at the edge, with their number beside them:
# else one of them would press all others into a line.
_BUDGETS = 5.0


@dataclass(frozen=True)
class Range:
    """The range of an axis, and the values that are marked on it."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def share(self, value: float) -> float:
        """Where a value is, from 0 to 1; what is outside lies on the edge."""
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def pace(one: PointRecord) -> float | None:
    """How many times as fast as the reference a point is; None: it has no speed.

    That is what is drawn, not pictures per second: a point and the reference are compared on the
    same pictures, and of those that ran on few pictures and on many neither is at a disadvantage.
    """
    return None if one.speed is None else one.speed.ratio


def drawn(found: Frontier) -> list[PointRecord]:
    """The points that have an accuracy: the fastest first, those without a speed last."""
    known = [one for one in found.points if one.delta is not None]
    return sorted(known, key=lambda one: -(pace(one) or 0.0))


def speeds(shown: Sequence[PointRecord]) -> Range | None:
    """The axis of speeds, in multiples of the reference's; None where nothing was measured."""
    values = [found for one in shown if (found := pace(one)) is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    low = 0.0 if low < 0.4 * high else low
    margin = max(0.08 * (high - low), 0.05 * high)
    return _range(low - margin if low else 0.0, high + margin)


def differences(found: Frontier, shown: Sequence[PointRecord]) -> Range:
    """The axis of points of mAP that are lost or gained."""
    floor = -_BUDGETS * found.budget
    spans = [one.difference for one in shown if one.difference is not None]
    values = [100 * span.low for span in spans] + [100 * span.high for span in spans]
    values += [100 * one.delta for one in shown if one.delta is not None]
    low = max(floor, min([*values, -1.5 * found.budget]))
    high = min(-floor, max([*values, 0.5 * found.budget]))
    margin = 0.06 * (high - low)
    return _range(low - margin, high + margin)


def _range(low: float, high: float) -> Range:
    step = _step(high - low)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return Range(low, high, tuple(round(n * step, 10) for n in range(first, last + 1)))


def _step(span: float) -> float:
    """The distance between about six marks: 1, 2 or 5 times a power of ten."""
    rough = span / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if rough <= factor * power * 1.0001)
