"""From a search to its record, and to the sentences that say what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cascadeport.config.gate import points as in_words
from cascadeport.results import intervals
from cascadeport.results.intervals import Interval
from cascadeport.results.speed import Speed
from cascadeport.tune.outcome import Entry, Measured
from cascadeport.tune.record import Chosen, Frontier, Pictures, PointRecord, Ratio, Run, Span
from cascadeport.tune.search import Search, on_frontier

# A machine that became faster or slower by more than this during the search is worth a sentence.
_DRIFT = 0.05
# Passes that differ this much among themselves give no interval.
_ABSURD = 1e6


def assemble(
    search: Search,
    *,
    model: str,
    data: str,
    targets: Sequence[str],
    budget: float,
    steps: Sequence[int],
    held_out: int,
    commands: Mapping[Any, str],
    drift: Speed | None,
    left_out: Sequence[str],
) -> Frontier:
    """The record of a search that has ended.

    Args:
        search: The search.
        model: The card's name.
        data: The data set's.
        targets: Those that points were made of; the first one is the reference's.
        budget: In points.
        steps: The numbers of pictures that the search went through.
        held_out: How many pictures it has not seen.
        commands: What runs each point.
        drift: The reference's speed once more, against what it was.
        left_out: Which axes have no points, and why.
    """
    entries = list(search.entries.values())
    front = on_frontier(entries)
    listed = [_point(one, targets[0], one in front) for one in entries]
    chosen = None
    if search.chosen is not None:
        place = entries.index(search.chosen)
        chosen = Chosen(
            point=place,
            target=search.chosen.point.target,
            options=search.chosen.point.values,
            command=commands[search.chosen.point],
            held_out=listed[place].held_out if listed[place].status != "reference" else None,
        )
    return Frontier(
        model=model,
        data=data,
        target=targets[0],
        targets=list(targets),
        budget=budget,
        level=intervals.LEVEL,
        pictures=Pictures(steps=list(steps), held_out=held_out),
        sentences=[*_sentences(search, budget, targets[0]), *_drifted(drift)],
        points=listed,
        chosen=chosen,
        judged=[entries.index(one) for one in search.judged],
        drift=_ratio(drift),
        left_out=list(left_out),
    )


def _point(entry: Entry, reference: str, is_on_frontier: bool) -> PointRecord:
    runs = [_run(entry.outcomes[step]) for step in sorted(entry.outcomes)]
    latest = runs[-1].model_dump(exclude={"row"}) if runs else {}
    return PointRecord(
        target=entry.point.target,
        options=entry.point.values,
        title=entry.point.titled(reference),
        status=entry.status,
        reason=entry.reason,
        note=entry.note,
        on_frontier=is_on_frontier,
        runs=runs,
        held_out=_run(entry.held_out) if entry.held_out else None,
        held_out_status=entry.held_out_status,
        **latest,
    )


def _run(one: Measured) -> Run:
    return Run(
        row=one.row,
        pictures=one.pictures,
        map=one.map,
        interval=_span(one.own),
        delta=one.delta,
        difference=_span(one.difference),
        ips=one.ips,
        ips_end_to_end=one.ips_end_to_end,
        device_ips=one.device_ips,
        end_to_end_ips=one.end_to_end_ips,
        speed=_ratio(one.speed),
        simulated=one.simulated,
    )


def _span(interval: Interval | None) -> Span | None:
    return None if interval is None else Span(low=interval.low, high=interval.high)


def _ratio(speed: Speed | None) -> Ratio | None:
    if speed is None:
        return None
    if speed.low is None or speed.high is None or speed.high > _ABSURD * speed.low:
        return Ratio(ratio=speed.ratio, low=None, high=None)
    return Ratio(ratio=speed.ratio, low=speed.low, high=speed.high)


def _sentences(search: Search, budget: float, target: str) -> list[str]:
    chosen, found = search.chosen, []
    reference = next(one for one in search.entries.values() if one.status == "reference")
    allowed = f"the budget of {in_words(budget)}"
    if chosen is None:
        found.append(
            f"Nothing is chosen: {target} is simulated, so that no point has a speed. What each "
            f"costs in accuracy is measured against {allowed}."
        )
    elif chosen is reference:
        found.append(_kept(search, allowed))
    else:
        assert chosen.latest is not None
        assert chosen.held_out is not None
        found.append(
            f"The fastest point within {allowed} is {chosen.point.titled(target)}: "
            f"{_times(chosen.latest.speed)} as fast as the reference, "
            f"{chosen.latest.ips:.2f} pictures per second on the device, "
            f"{chosen.latest.ips_end_to_end:.2f} end to end."
        )
        found.append(
            f"On the {chosen.held_out.pictures} pictures that the search has not seen it is "
            f"within the budget, too: {chosen.held_out.change}; there it is "
            f"{_times(chosen.held_out.speed)} as fast."
        )
    rejected = [one for one in search.judged if one is not chosen]
    found += [
        f"{one.point.titled(target)} was faster and within the budget on the pictures of the "
        f"search, but is not chosen: {one.note}."
        for one in rejected
    ]
    waiting = [one for one in search.undecided if one not in rejected]
    if waiting:
        names = "; ".join(f"{one.point.titled(target)} ({one.reason})" for one in waiting)
        found.append(f"Undecided and therefore not chosen, though faster: {names}.")
    return found


def _kept(search: Search, allowed: str) -> str:
    if search.undecided:
        return (
            "The reference stays: these pictures do not show of any faster point that it is within "
            f"{allowed}."
        )
    return f"The reference stays: no point within {allowed} is faster beyond doubt."


def _times(speed: Speed | None) -> str:
    if speed is None:
        return "– times"
    known = "" if speed.low is None else f" [{speed.low:.2f}, {speed.high:.2f}]"
    return f"{speed.ratio:.2f}{known} times"


def _drifted(drift: Speed | None) -> list[str]:
    if drift is None:
        return []
    said = f"The reference, measured again after the search, is {_times(drift)} as fast as before"
    if drift.differs and abs(drift.ratio - 1) > _DRIFT:
        return [
            f"{said}: the machine changed meanwhile, and speeds of points that are closer to each "
            "other than that cannot be compared."
        ]
    return [f"{said}."]
