"""The search: which points are run, in which order, and which one is chosen.

Nothing here runs anything or looks at a clock: equal outcomes give equal searches. docs/tune.md
says the same in words.

1. Every axis alone, the cheapest first, on the fewest pictures. A point whose interval straddles
   the budget is run on more of them, unless it is not faster than the reference anyway.
2. What is within the budget and not slower is combined, the largest gain first.
3. A runtime beside the target's own is tried as it is, then with what has been learnt.
4. The fastest point that is within the budget on all pictures of the search is judged on the
   pictures that the search has not seen, beside the reference; if it is not within there, or not
   faster, the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from cascadeport.base.errors import CascadeportError
from cascadeport.tune.outcome import Entry, Failed, Measured, Outcome
from cascadeport.tune.space import Axis, Point

HELD_OUT: Literal["held-out"] = "held-out"
Step = int | Literal["held-out"]
"""A number of pictures of the search by its place, from few to all; or the pictures held out."""

HOPELESS = 0.5
"""A runtime that is slower than this share of the reference is not varied."""


class Evaluate(Protocol):
    """Runs a point on the pictures of a step."""

    def __call__(self, point: Point, step: Step) -> Outcome:
        """What the run gave. The reference has been run on the same pictures before."""


@dataclass(frozen=True)
class Space:
    """What can vary.

    Args:
        reference: The recipe that everything is compared with.
        peers: The same recipe by other runtimes.
        axes: By target: each axis with its values, or with the reason why it has none.
        refuses: Why a combination makes no sense; empty: it may.
    """

    reference: Point
    peers: Sequence[Point]
    axes: Mapping[str, Sequence[tuple[Axis, Sequence[Any], str]]]
    refuses: Callable[[Point], str] = lambda point: ""


Tell = Callable[[Point, Step, str, int], None]
"""Told before each run: the point, the step, why, and how many runs may follow it at most."""


class Search:
    """One search.

    Args:
        space: What can vary.
        evaluate: Runs a point.
        steps: How many numbers of pictures there are.
        budget: How many points of mAP may be lost.
        tell: Is told what is run, and why.
    """

    def __init__(
        self, space: Space, evaluate: Evaluate, steps: int, budget: float, tell: Tell
    ) -> None:
        self._space = space
        self._evaluate = evaluate
        self._last = steps - 1
        self._budget = budget
        self._tell = tell
        self._pending = 0
        self.entries: dict[Point, Entry] = {}
        self.judged: list[Entry] = []
        self.chosen: Entry | None = None

    def run(self) -> None:
        """Searches; `entries`, `judged` and `chosen` then say what was found.

        Raises:
            CascadeportError: The reference cannot be run.
        """
        first = self._space.reference.target
        self._pending = sum(
            len(values) + 1
            for target, axes in self._space.axes.items()
            for axis, values, _ in axes
            if target == first or not axis.carries
        )
        self._reference(0)
        own = self._space.reference
        gains = self._along_axes(own, self._space.axes[own.target])
        self._combine(own, gains)
        for peer in self._space.peers:
            self._peer(peer, gains)
        self._choose()

    @property
    def undecided(self) -> list[Entry]:
        """The points of which more pictures might show that they are faster and good enough."""
        return [
            one
            for one in self.entries.values()
            if "undecided" in (one.status, one.held_out_status)
            and one.latest is not None
            and not one.latest.simulated
            and one.latest.is_faster
        ]

    # --- the reference

    def _reference(self, step: Step) -> Measured:
        point = self._space.reference
        entry = self.entries.setdefault(point, Entry(point, "reference", "the reference"))
        if step == HELD_OUT and entry.held_out is not None:
            return entry.held_out
        if step != HELD_OUT and step in entry.outcomes:
            return entry.outcomes[step]
        self._tell(point, step, "what every other point is compared with", self._pending)
        outcome = self._evaluate(point, step)
        if isinstance(outcome, Failed):
            error = CascadeportError(
                f"The reference cannot be run: {outcome.reason}.",
                next="Make `cascadeport all` of the same options succeed first.",
            )
            error.exit_code = outcome.code
            raise error
        if step == HELD_OUT:
            entry.held_out = outcome
        else:
            entry.outcomes[step] = outcome
        return outcome

    # --- points

    def _try(self, point: Point, why: str, *, pending: int = 0) -> Entry:
        """Runs a point until it is decided, or until it is known not to win."""
        self._pending = max(0, self._pending - pending)
        if point in self.entries:
            return self.entries[point]
        entry = self.entries[point] = Entry(point)
        for step in range(self._last + 1):
            self._step(entry, step, why)
            if entry.status != "undecided":
                break
            assert entry.latest is not None
            if entry.latest.is_no_gain and step < self._last:
                entry.note = "not faster than the reference: more pictures could not let it win"
                break
            why = f"{entry.latest.lost}: straddles the budget"
        return entry

    def _step(self, entry: Entry, step: int, why: str) -> None:
        self._reference(step)
        self._tell(entry.point, step, why, self._pending)
        outcome = self._evaluate(entry.point, step)
        if isinstance(outcome, Failed):
            entry.status, entry.reason = "failed", outcome.reason
            return
        entry.outcomes[step] = outcome
        entry.status, entry.reason = outcome.verdict(self._budget)

    def _skip(self, point: Point, reason: str) -> None:
        self._pending = max(0, self._pending - 1)
        if point not in self.entries:
            self.entries[point] = Entry(point, "skipped", reason)

    # --- each axis alone

    def _along_axes(
        self, base: Point, axes: Sequence[tuple[Axis, Sequence[Any], str]]
    ) -> dict[str, list[Entry]]:
        """Tries every value of every axis alone.

        Returns:
            By option, the points that may be combined, those that change least first.
        """
        gains: dict[str, list[Entry]] = {}
        for axis, values, _ in axes:
            stopped = ""
            for value in values:
                point = base.having(axis.option, value)
                if stopped:
                    self._skip(point, stopped)
                    continue
                entry = self._try(point, axis.why, pending=1)
                stopped = self._stops(axis, entry)
                if self._may_gain(entry):
                    gains.setdefault(axis.option, []).append(entry)
        return gains

    def _stops(self, axis: Axis, entry: Entry) -> str:
        """Why no further value of an axis can win; empty: it may."""
        name = entry.point.titled(self._space.reference.target)
        if axis.falls and entry.status == "beyond" and entry.latest is not None:
            return f"{name} alone already loses too much: {entry.latest.lost}"
        if axis.rises and entry.latest is not None and entry.latest.is_no_gain:
            return f"{name} is already no faster than the reference"
        return ""

    def _may_gain(self, entry: Entry) -> bool:
        """Whether a point is worth being combined with others."""
        if entry.status != "within" or entry.latest is None or entry.latest.simulated:
            return False
        if entry.latest.ratio is None or entry.latest.is_no_gain:
            entry.note = entry.note or "not faster than the reference, so not combined with others"
            return False
        return True

    # --- combinations

    def _combine(self, base: Point, gains: Mapping[str, list[Entry]]) -> None:
        """Adds what gains most to what has been gained, as long as it helps."""
        ranked = sorted(
            gains.items(), key=lambda item: (-max(_ratio(one) for one in item[1]), item[0])
        )
        if not ranked:
            return
        best = self.entries.get(base)
        for option, found in ranked:
            for entry in sorted(found, key=lambda one: -_ratio(one))[:2]:
                value = entry.point.values[option]
                start = best.point if best is not None else base
                if reason := self._space.refuses(start.having(option, value)):
                    self._skip(start.having(option, value), reason)
                    continue
                why = f"adds {option.replace('_', ' ')} {value}, which gained {_gain(entry)} alone"
                tried = self._try(start.having(option, value), why, pending=1)
                if tried.status == "within" and (best is None or _ratio(tried) > _ratio(best)):
                    best = tried
                    break

    # --- other runtimes

    def _peer(self, peer: Point, gains: Mapping[str, list[Entry]]) -> None:
        """Tries another runtime, then what has been learnt on it."""
        axes = self._space.axes[peer.target]
        entry = self._try(peer, f"the same network by another runtime, {peer.target}")
        latest = entry.latest
        if entry.status in ("failed", "beyond") or latest is None:
            self._leave(peer, axes, entry.reason)
            return
        if latest.simulated:
            # Nothing can be combined by its gain; each change's price is worth knowing.
            self._along_axes(peer, axes)
            return
        if latest.ratio is not None and latest.is_slower and latest.ratio < HOPELESS:
            self._leave(peer, axes, f"{peer.target} is {latest.ratio:.2f} times as fast as it is")
            return
        carried = {axis.option for axis, _, _ in axes if axis.carries}
        own = self._along_axes(peer, [one for one in axes if one[0].option not in carried])
        learnt = {option: found for option, found in gains.items() if option in carried}
        for axis, values, _ in axes:
            if axis.carries and axis.option not in learnt:
                for value in values:
                    known = self.entries.get(self._space.reference.having(axis.option, value))
                    if known is not None:
                        reason = f"on {self._space.reference.target}: {known.reason}"
                        self._skip(peer.having(axis.option, value), reason)
        self._combine(peer, {**learnt, **own})

    def _leave(
        self, peer: Point, axes: Sequence[tuple[Axis, Sequence[Any], str]], reason: str
    ) -> None:
        for axis, values, _ in axes:
            for value in values:
                self._skip(peer.having(axis.option, value), reason)

    # --- the choice

    def _choose(self) -> None:
        reference = self.entries[self._space.reference]
        tried: set[Point] = set()
        while True:
            candidates = [
                one
                for one in self.entries.values()
                if one.status == "within"
                and one.point not in tried
                and one.latest is not None
                and one.latest.is_faster
            ]
            if not candidates:
                break
            best = max(candidates, key=_ratio)
            if self._last not in best.outcomes:
                self._step(best, self._last, "the fastest within the budget so far")
                continue
            tried.add(best.point)
            self._reference(HELD_OUT)
            self._tell(best.point, HELD_OUT, "judged on pictures that the search has not seen", 0)
            outcome = self._evaluate(best.point, HELD_OUT)
            self.judged.append(best)
            if isinstance(outcome, Failed):
                best.held_out_status, best.note = "failed", outcome.reason
                continue
            best.held_out = outcome
            best.held_out_status, reason = outcome.verdict(self._budget)
            if best.held_out_status == "within" and outcome.is_faster:
                self.chosen = best
                return
            if best.held_out_status == "within":
                # Of many points the fastest was also the luckiest; there it ran beside the
                # reference.
                reason = f"{outcome.pace}, which cannot be told from chance"
            best.note = f"on pictures that the search has not seen: {reason}"
        # Without a speed there is nothing to choose by.
        if reference.latest is not None and not reference.latest.simulated:
            self.chosen = reference


def _ratio(entry: Entry) -> float:
    return (entry.latest.ratio if entry.latest else None) or 0.0


def _gain(entry: Entry) -> str:
    return f"{_ratio(entry):.2f} times the speed"


def on_frontier(entries: Sequence[Entry]) -> list[Entry]:
    """The measured points that no other one beats in both accuracy and speed, the slowest first."""
    known = [
        (one.latest.ratio, one.latest.delta or 0.0, one)
        for one in entries
        if one.latest is not None and one.latest.ratio is not None
    ]
    found: list[Entry] = []
    best: float | None = None
    for _, delta, one in sorted(known, key=lambda item: (-item[0], -item[1])):
        if best is None or delta > best:
            found.append(one)
            best = delta
    return found[::-1]
