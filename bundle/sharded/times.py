"""The times of a fleet: of each device, and of all together. Nothing is multiplied.

Shards run on several hosts, and several may run on one device after another. A speed is therefore
always what was done, divided by the time from the first beginning to the last end, by the hosts'
clocks; those have to agree (NTP) as closely as the figures are to mean something.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from bundle.measure import STEPS, Pass, mean, statistics


class Part(NamedTuple):
    """The scored pass of a shard.

    Args:
        device: What it ran on.
        began: In seconds since 1970, by the clock of its host.
        times: Its times.
        bound_by: What limited it.
    """

    device: str
    began: float
    times: Pass
    bound_by: Optional[str] = None

    @property
    def ended(self) -> float:
        """When its last picture was finished."""
        return self.began + self.times.seconds


def summarise_fleet(parts: Sequence[Part]) -> Dict[str, Any]:
    """The `summary` of merged shards (docs/shards.md).

    `end_to_end_ips` is all pictures by the time from the first pass's beginning to the last one's
    end. `device_ips` is the sum over all passes of the rate of the pass's devices, each weighted by
    the part of that time that the pass took: two devices that worked side by side count twice, two
    passes one after the other once. `chip_ips` and the steps are over all pictures.
    """
    worked = [part for part in parts if part.times.pictures]
    seconds = _span(worked)
    devices: Dict[str, List[Part]] = {}
    for part in worked:
        devices.setdefault(part.device, []).append(part)
    bounds = {part.bound_by for part in worked}
    return {
        **_rates(worked, seconds),
        "bound_by": bounds.pop() if len(bounds) == 1 else None,
        "repeats": [],
        "spread": {},
        "steps_ms": {step: _statistics(worked, step) for step in STEPS},
        "latency_ms": statistics(_values(worked, "device")),
        "percentiles": "nearest rank",
        "seconds": round(seconds, 4),
        "devices": [
            dict(
                {"device": name, "shards": len(own), "pictures": _pictures(own)},
                seconds=round(_busy(own), 4),
                latency_ms=statistics(_values(own, "device")),
                **_rates(own, _busy(own)),
            )
            for name, own in sorted(devices.items())
        ],
    }


def _rates(parts: Sequence[Part], seconds: float) -> Dict[str, Any]:
    overall = _chip(parts)
    own: List[Tuple[Optional[float], float]] = [
        (part.times.throughput()["device_ips"], part.times.seconds) for part in parts
    ]
    known = [rate * took for rate, took in own if rate is not None]
    return {
        "chip_ips": 1000.0 / overall if overall else None,
        "device_ips": math.fsum(known) / seconds if seconds and len(known) == len(own) else None,
        "end_to_end_ips": _pictures(parts) / seconds if seconds else None,
    }


def _chip(parts: Sequence[Part]) -> Optional[float]:
    """The milliseconds of a chip's work per picture."""
    if not any(part.times.is_overlapping for part in parts):
        return mean(_values(parts, "device"))
    rates = [(part.times.throughput()["chip_ips"], part.times.pictures) for part in parts]
    if not all(rate for rate, _ in rates):
        return None
    return math.fsum(1000.0 * count / rate for rate, count in rates) / _pictures(parts)


def _pictures(parts: Sequence[Part]) -> int:
    return sum(part.times.pictures for part in parts)


def _values(parts: Sequence[Part], step: str) -> List[float]:
    return [value for part in parts for value in part.times.step(step)]


def _statistics(parts: Sequence[Part], step: str) -> Optional[Dict[str, Any]]:
    values = _values(parts, step)
    return statistics(values) if values else None


def _span(parts: Sequence[Part]) -> float:
    """Seconds from the first beginning to the last end."""
    if not parts:
        return 0.0
    return max(part.ended for part in parts) - min(part.began for part in parts)


def _busy(parts: Sequence[Part]) -> float:
    """Seconds in which at least one of the passes was under way."""
    total, until = 0.0, -math.inf
    for part in sorted(parts, key=lambda one: one.began):
        total += max(0.0, part.ended - max(part.began, until))
        until = max(until, part.ended)
    return total
