"""Shards on devices: each device takes the next shard when it has finished one."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ending:
    """When it is over.

    Args:
        seconds: When the last shard ends.
        busy: The part of the devices' time until then in which they work, from 0 to 1.
    """

    seconds: float
    busy: float


def ending(pictures: int, shards: int, rates: Sequence[float], startups: Sequence[float]) -> Ending:
    """When the last of the shards ends.

    Args:
        pictures: All pictures; shard i has those whose place in the list is i modulo `shards`.
        shards: How many.
        rates: Pictures per second of each device.
        startups: Seconds that each device needs before the first picture of a shard.
    """
    free = [(0.0, device) for device in range(len(rates))]
    heapq.heapify(free)
    worked = last = 0.0
    each, more = divmod(pictures, shards)
    for shard in range(shards):
        began, device = heapq.heappop(free)
        took = startups[device] + (each + (shard < more)) / rates[device]
        worked += took
        last = max(last, began + took)
        heapq.heappush(free, (began + took, device))
    return Ending(last, worked / (last * len(rates)) if last else 0.0)
