"""The search space as data: the axes along which a target's recipe can vary.

A backend says which options its targets can vary (`Backend.varies`); what there is to know about an
option is its entry in `AXES`. A new axis is one entry, and its name in the backends that have it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cascadeport.config.cards import MULTIPLE
from cascadeport.config.options import Options, of

_SHARES = (0.5, 0.3, 0.2, 0.1, 0.05)
# Edges of pictures, as shares of the reference's.
_EDGES = (0.9, 0.8, 0.7, 0.5)
# A processor's streams share its threads, so that more of them than this help no machine by much.
_STREAMS = (2, 4, 8)
_BATCHES = (2, 4)


@dataclass(frozen=True)
class Facts:
    """What the values of an axis depend on.

    Args:
        proposals: How many proposals the reference keeps; None: unknown, or it has none.
        edges: How large its pictures become: the long and the short edge.
        cores: Of this machine.
        levels: Whether the reference suppresses proposals `within` pyramid levels or `across`.
        options: The user's.
        offered: The values that the backend names, by option; empty: the axis's own.
    """

    proposals: int | None
    edges: tuple[int, int]
    cores: int
    levels: str
    options: Options
    offered: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Axis:
    """One thing that a recipe can vary.

    Args:
        option: The option's field.
        values: Its values for a reference, those that change least first.
        why: What it may gain, and at what price; for people, during the search.
        carries: Whether what it costs in accuracy on one runtime is what it costs on another.
        falls: Whether accuracy falls along its values: what is beyond the budget ends it.
        rises: Whether, once a value is not faster than the reference, those after it are not, too.
        of_graph: Whether it changes the network, which a card with a ready graph does not allow.
    """

    option: str
    values: Callable[[Facts], Sequence[Any]]
    why: str
    carries: bool
    falls: bool = False
    rises: bool = False
    of_graph: bool = False


def _threads(facts: Facts) -> list[int]:
    used = facts.options.threads or facts.cores
    return [count for count in (used // 2, used // 4) if count >= 1]


def _proposals(facts: Facts) -> list[int]:
    if facts.proposals is None:
        return []
    found = dict.fromkeys(round(share * facts.proposals) for share in _SHARES)
    return [count for count in found if 0 < count < facts.proposals]


def _streams(facts: Facts) -> list[int]:
    used = facts.options.threads or facts.cores
    return [count for count in _STREAMS if count <= used and count != facts.options.streams]


def _resized(facts: Facts) -> list[str]:
    long, short = facts.edges
    found = [(_edge(share * long), _edge(share * short)) for share in _EDGES]
    smaller = [pair for pair in dict.fromkeys(found) if 0 < pair[1] <= pair[0] < long]
    return [str(one) if one == other else f"{one}x{other}" for one, other in smaller]


def _edge(length: float) -> int:
    """The next multiple of the largest stride of the pyramid that is not longer."""
    return int(length) // MULTIPLE * MULTIPLE


def _offered(option: str) -> Callable[[Facts], Sequence[Any]]:
    return lambda facts: [
        one for one in facts.offered[option] if one != getattr(facts.options, option)
    ]


AXES = (
    Axis(
        "threads",
        _threads,
        "fewer threads disturb each other less; detections stay the same",
        carries=False,
        rises=True,
    ),
    Axis(
        "streams",
        _streams,
        "several pictures at once, where one leaves cores idle; detections stay the same",
        carries=False,
        rises=True,
    ),
    Axis(
        "nms_levels",
        lambda facts: [one for one in facts.offered["nms_levels"] if one != facts.levels],
        "one suppression for all pyramid levels instead of one for each",
        carries=True,
        of_graph=True,
    ),
    Axis(
        "proposals",
        _proposals,
        "every stage of the cascade works on fewer regions, and some objects lose theirs",
        carries=True,
        falls=True,
        of_graph=True,
    ),
    Axis(
        "batch",
        lambda facts: [count for count in _BATCHES if count != facts.options.batch],
        "several pictures in one go of the network, which waits for the last of them",
        carries=False,
        rises=True,
        of_graph=True,
    ),
    Axis(
        "shapes",
        _offered("shapes"),
        "shapes that follow the pictures', so that less of the input is padding",
        carries=True,
        of_graph=True,
    ),
    Axis(
        "resize",
        _resized,
        "smaller pictures: the time of a network follows its area, and small objects get lost",
        carries=True,
        falls=True,
        of_graph=True,
    ),
    Axis(
        "precision",
        _offered("precision"),
        "smaller numbers, which a device may multiply faster",
        carries=False,
        of_graph=True,
    ),
)
"""Every axis, the cheapest first: what needs no other network, then what is lowered again, then
what is converted or calibrated as well."""

NAMED = {axis.option: axis for axis in AXES}


def refusing(facts: Mapping[str, Facts]) -> Callable[[Point], str]:
    """What says why a combination of values makes no sense.

    Args:
        facts: By target.
    """

    def refuses(point: Point) -> str:
        found = facts[point.target]
        threads = point.values.get("threads") or found.options.threads or found.cores
        streams = point.values.get("streams") or found.options.streams
        if isinstance(streams, int) and streams > threads:
            return f"{streams} streams cannot share {threads} thread{'s' * (threads > 1)}"
        precision = point.values.get("precision") or found.options.precision
        if precision == "int8" and (point.values.get("batch") or found.options.batch or 1) > 1:
            return "an int8 network takes one picture"
        return ""

    return refuses


@dataclass(frozen=True)
class Point:
    """A recipe: a target, and what differs from the reference's options.

    Args:
        target: Its row of targets.toml.
        changes: Values by option, in the order of `AXES`.
    """

    target: str
    changes: tuple[tuple[str, Any], ...] = ()

    def having(self, option: str, value: Any) -> Point:
        """This recipe, and one more value."""
        changed = {**dict(self.changes), option: value}
        order = {axis.option: place for place, axis in enumerate(AXES)}
        ordered = sorted(changed.items(), key=lambda item: order.get(item[0], len(order)))
        return replace(self, changes=tuple(ordered))

    @property
    def values(self) -> dict[str, Any]:
        """The values by option."""
        return dict(self.changes)

    def applied(self, base: Options, foreign: Collection[str]) -> Options:
        """The options that run it.

        Args:
            base: The user's own.
            foreign: The options that its target does not understand: they stay at their defaults.
        """
        defaults = {
            each.field: each.default
            for each in of(Options)
            if each.field in foreign and each.field not in self.values
        }
        return replace(base, **{**defaults, "target": self.target, **self.values})

    def titled(self, reference: str) -> str:
        """How people name it: `proposals 100, threads 2`; with its target if it is another one."""
        parts = [f"{name.replace('_', ' ')} {value}" for name, value in self.changes]
        if self.target != reference:
            parts.insert(0, self.target)
        return ", ".join(parts) or "the reference"


def cores() -> int:
    """The cores of this machine that a run may use."""
    return os.cpu_count() or 1


def axes(facts: Facts, *, ready: bool) -> Iterator[tuple[Axis, Sequence[Any], str]]:
    """The axes of a target, each with its values, or with the reason why it has none.

    Args:
        facts: What the values depend on.
        ready: Whether the card's graph runs as it is, so that nothing about it can be changed.
    """
    for axis in AXES:
        if axis.option not in facts.offered:
            continue
        if ready and axis.of_graph:
            yield axis, (), "the card's graph is ready as it is, and nothing in it can be changed"
            continue
        values = list(axis.values(facts))
        yield axis, values, "" if values else "there is no other value than the reference's"
