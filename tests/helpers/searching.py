"""A search without runs: points whose accuracy and speed are written down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cascadeport.config.options import Options
from cascadeport.results.intervals import Interval
from cascadeport.results.speed import Speed
from cascadeport.tune.outcome import Failed, Measured, Outcome
from cascadeport.tune.search import HELD_OUT, Search, Space, Step
from cascadeport.tune.space import AXES, Axis, Point

BUDGET = 0.5
REFERENCE = 0.65


@dataclass
class World:
    """What every recipe costs and gains.

    Args:
        losses: Points of mAP that each change loses, by option and value.
        gains: How many times as fast each change makes it.
        reach: Half of an interval in points, on the fewest pictures; it halves with every step.
        surprises: Points of mAP that a recipe loses on the pictures held out instead.
        lucky: Recipes that are as fast as the reference on the pictures held out.
        failing: Changes whose runs fail.
        breaking: Recipes whose runs fail on more pictures than the fewest.
        simulated: Targets without a speed.
    """

    losses: Mapping[tuple[str, Any], float] = field(default_factory=dict)
    gains: Mapping[tuple[str, Any], float] = field(default_factory=dict)
    reach: float = 0.2
    surprises: Mapping[Point, float] = field(default_factory=dict)
    lucky: Sequence[Point] = ()
    failing: Sequence[tuple[str, Any]] = ()
    breaking: Sequence[Point] = ()
    simulated: Sequence[str] = ()
    jitter: float = 0.02
    ran: list[tuple[Point, Step]] = field(default_factory=list)

    def __call__(self, point: Point, step: Step) -> Outcome:
        """What a run of a point gives."""
        self.ran.append((point, step))
        changes = [*point.changes, ("target", point.target)]
        if any(change in self.failing for change in changes):
            return Failed("the network has no such thing")
        if point in self.breaking and step != 0:
            return Failed("the disk is full")
        lost = sum(self.losses.get(change, 0.0) for change in changes)
        if step == HELD_OUT:
            lost = self.surprises.get(point, lost)
        pictures = 200 if step == HELD_OUT else 50 * 2 ** int(step)
        reach = self.reach / (4 if step == HELD_OUT else 2 ** int(step)) if lost else 0.0
        ratio = 1.0
        for change in changes:
            ratio *= self.gains.get(change, 1.0)
        if step == HELD_OUT and point in self.lucky:
            ratio = 1.0
        simulated = point.target in self.simulated
        own = REFERENCE - lost / 100
        return Measured(
            row="row",
            pictures=pictures,
            map=own,
            own=Interval(own - 0.03, own + 0.03),
            delta=-lost / 100,
            difference=Interval((-lost - reach) / 100, (-lost + reach) / 100),
            ips=None if simulated else 10 * ratio,
            ips_end_to_end=None if simulated else 9.5 * ratio,
            device_ips=None if simulated else 10 * ratio,
            end_to_end_ips=None if simulated else 9.5 * ratio,
            speed=None
            if simulated
            else Speed(ratio, ratio * (1 - self.jitter), ratio * (1 + self.jitter), (3, 3)),
            simulated=simulated,
        )


def space(
    values: Mapping[str, Sequence[Any]], target: str = "cpu", peers: Mapping[str, Any] | None = None
) -> Space:
    """A space of these values by option, for a target and for other runtimes."""
    axes = {target: _axes(values)}
    axes |= {name: _axes(own) for name, own in (peers or {}).items()}
    return Space(Point(target), [Point(name) for name in peers or {}], axes)


def _axes(values: Mapping[str, Sequence[Any]]) -> list[tuple[Axis, Sequence[Any], str]]:
    return [(axis, values[axis.option], "") for axis in AXES if axis.option in values]


def search(space: Space, world: World, steps: int = 3, budget: float = BUDGET) -> Search:
    """A search that has ended."""
    done = Search(space, world, steps, budget, lambda point, step, why, pending: None)
    done.run()
    return done


def options(**changes: Any) -> Options:
    """Options of a user."""
    return Options(**changes)
