"""Do two rows differ in speed at all? Their passes, compared by Welch's t-test.

The times of the pictures of one pass are not independent: a pass that begins on a warm processor is
slower from its first picture to its last. What can be compared is passes: every row has a scored
pass and repeats over its first pictures, so each pass gives one mean over the same pictures. Their
logarithms are compared (B. L. Welch, Biometrika 34 (1947) 28-35), which gives an interval for the
ratio of the speeds. Repeats within a few minutes know nothing of tomorrow's temperature or of
another machine of the same type.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from cascadeport.results.run_record import Summary

# Student's t at 97.5 %, by degrees of freedom: the row with the most that are not more than those
# at hand is taken, so that an interval is rather too wide. (NIST/SEMATECH e-Handbook, 1.3.6.7.2.)
_QUANTILES = {
    **{1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262},
    **{10: 2.228, 12: 2.179, 15: 2.131, 20: 2.086, 30: 2.042, 60: 2.000, 120: 1.980},
}


# An interval that is wider than this says that there are too few passes, and nothing else.
_ABSURD = 10


@dataclass(frozen=True)
class Speed:
    """How one row's speed compares with another's, on the device and end to end.

    Args:
        ratio: Its pictures per second divided by the other's, the geometric means over passes.
        low, high: The 95 % interval of the ratio; None if a row has only one pass.
        passes: How many passes the two rows have.
    """

    ratio: float
    low: float | None
    high: float | None
    passes: tuple[int, int]

    @property
    def differs(self) -> bool | None:
        """Whether the interval excludes 1; None if that cannot be said."""
        if self.low is None or self.high is None:
            return None
        return not self.low <= 1.0 <= self.high

    @property
    def sentence(self) -> str:
        """The finding, in words that follow the row's name."""
        counted = f"{self.passes[0]} and {self.passes[1]} passes"
        if self.low is None or self.high is None or self.high > _ABSURD * self.low:
            return f"is {self.ratio:.3f} times as fast, but {counted} cannot tell that from chance"
        found = f"{self.ratio:.3f} (95 % interval {self.low:.3f} to {self.high:.3f}, {counted})"
        if self.differs:
            return f"is {'faster' if self.ratio > 1 else 'slower'}: ratio {found}"
        return f"cannot be told from it in speed: ratio {found}"


def compare(own: Summary, other: Summary, rate: str = "device_ips") -> Speed | None:
    """Compares the speeds of two rows.

    Args:
        own, other: The figures of their passes.
        rate: `chip_ips`, `device_ips` or `end_to_end_ips`.

    Returns:
        None: a row has no speed, or their repeats are over different numbers of pictures.
    """
    if {each.pictures for each in own.repeats} != {each.pictures for each in other.repeats}:
        return None
    rates = [[getattr(each, rate) for each in one.repeats] for one in (own, other)]
    if not all(rates) or not all(rate for one in rates for rate in one):
        return None
    logarithms = [[math.log(value) for value in one] for one in rates]
    return _welch(*logarithms)


def _welch(own: Sequence[float], others: Sequence[float]) -> Speed:
    difference = fmean(own) - fmean(others)
    passes = len(own), len(others)
    ratio = math.exp(difference)
    if min(passes) < 2:
        return Speed(ratio, None, None, passes)
    parts = [variance(values) / len(values) for values in (own, others)]
    squared = sum(parts)
    if squared == 0:
        return Speed(ratio, ratio, ratio, passes)
    freedom = squared**2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (own, others), strict=True)
    )
    known = sorted(_QUANTILES)
    # Welch's degrees of freedom are at least those of the smaller sample, here 1 or more.
    row = known[max(0, bisect_right(known, freedom) - 1)]
    reach = _QUANTILES[row] * math.sqrt(squared)
    return Speed(ratio, math.exp(difference - reach), math.exp(difference + reach), passes)
