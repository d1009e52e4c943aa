"""Passes in which a device worked on several pictures at once: what their times cannot say.

The rate of such a device is that of the time in which it worked at all (bundle/measure.py), so it
would be too high if more pictures overlapped than the job has at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

from bundle.measure import Interval, Pass
from bundle.streams import best
from cascadeport.results.run_record import RunRecord

# Times are written with four decimals, and the clock is read twice between two pictures.
_TOLERANCE_MS = 0.01


def problems(passes: Sequence[Pass], streams: int, pictures: int = 1) -> list[str]:
    """What is wrong with the times of a job, a clause each.

    Args:
        passes: The timed passes.
        streams: How many networks run at once.
        pictures: How many pictures each takes at once.
    """
    where, most_allowed = "infer/times.csv", streams * pictures
    if all(one.is_overlapping for one in passes) != (most_allowed > 1):
        which = "does not say" if most_allowed > 1 else "says"
        return [
            f"{where} {which} when the network began with each picture, of {most_allowed} at once"
        ]
    found = []
    for one in passes if most_allowed > 1 else ():
        for intervals in one.intervals().values():
            most = at_once(intervals)
            if most > most_allowed:
                found.append(f"{where}: {most} pictures at once, the job has {most_allowed}")
        found += _finished_early(one)
    return list(dict.fromkeys(found))


def at_once(intervals: Sequence[Interval]) -> int:
    """How many of the intervals overlap at most."""
    ends: list[float] = []
    most = 0
    for begin, end in sorted(intervals):
        while ends and ends[0] <= begin + _TOLERANCE_MS:
            heapq.heappop(ends)
        heapq.heappush(ends, end)
        most = max(most, len(ends))
    return most


def _finished_early(one: Pass) -> list[str]:
    ends = [end for _, end in one.in_order()]
    early = any(
        end > finished + _TOLERANCE_MS for end, finished in zip(ends, one.finished, strict=True)
    )
    return ["infer/times.csv: a picture was finished before its network was"] * early


def chosen_otherwise(environment: Mapping[str, Any]) -> list[str]:
    """Whether the number of streams is what the measurements of the candidates say."""
    where = "infer/run.json: the number of streams"
    try:
        wanted = best(list(environment["streams_found"]))
    except (KeyError, TypeError, ValueError):
        return [f"{where} is left to the machine, and no measurement of it is there"]
    chosen = environment.get("streams", 1)
    return [] if chosen == wanted else [f"{where} is {chosen}, its measurements say {wanted}"]


def remarks(run: RunRecord) -> list[str]:
    """What has to be said of a number of streams that the machine chose, in sentences."""
    found = run.environment.get("streams_found")
    if not isinstance(found, list):
        return []
    try:
        tried = ", ".join(f"{one['streams']}: {one['ips']:.2f} img/s" for one in found)
    except (KeyError, TypeError, ValueError):
        return []
    chosen = run.environment.get("streams", 1)
    return [f"{chosen} pictures at once are the fastest here by measuring, end to end ({tried})."]
