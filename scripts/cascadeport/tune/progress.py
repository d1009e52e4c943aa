"""Says what a search runs, why, and how long it may still take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import fmean

from cascadeport.base.progress import Reporter
from cascadeport.tune.outcome import Failed, Measured, Outcome
from cascadeport.tune.search import HELD_OUT, Evaluate, Step
from cascadeport.tune.space import Point

# A run that was found finished takes less, and tells nothing of those to come.
_FOUND_S = 2.0


class Progress:
    """Tells the user about runs, before and after each.

    Args:
        reporter: Tells the user what happens.
        steps: How many pictures each step has.
        reference: The reference's target.
    """

    def __init__(self, reporter: Reporter, steps: Sequence[int], reference: str) -> None:
        self._reporter = reporter
        self._steps = steps
        self._reference = reference
        self._number = 0
        self._seconds: list[float] = []

    def tell(self, point: Point, step: Step, why: str, pending: int) -> None:
        """Says what is run next, why, and how many runs may follow it."""
        self._number += 1
        where = (
            "on the pictures held out"
            if step == HELD_OUT
            else f"on {self._steps[int(step)]} pictures"
        )
        left = f"; at most {pending} points more" if pending else ""
        if pending and self._seconds:
            left += f", {_minutes(pending * fmean(self._seconds))}"
        name = point.titled(self._reference)
        self._reporter.line("point", f"{self._number}: {name}, {where} ({why}){left}", "bold")

    def timed(self, evaluate: Evaluate) -> Evaluate:
        """The same runs, with what each of them gave."""

        def timed(point: Point, step: Step) -> Outcome:
            began = time.monotonic()
            outcome = evaluate(point, step)
            seconds = time.monotonic() - began
            if seconds > _FOUND_S:
                self._seconds.append(seconds)
            self._reporter.line("", _said(outcome))
            return outcome

        return timed


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {seconds / 60:.0f} minutes"


def _said(outcome: Outcome) -> str:
    if isinstance(outcome, Failed):
        return f"failed: {outcome.reason}"
    return f"{outcome.lost}; {_speed(outcome)}"


def _speed(outcome: Measured) -> str:
    if outcome.ips is None:
        return "simulated: no speed"
    said = f"{outcome.ips:.2f} img/s on the device"
    if outcome.speed is None or outcome.speed.low is None or outcome.speed.high is None:
        return said
    ratio = outcome.speed
    return f"{said}, {ratio.ratio:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] times the reference's"
