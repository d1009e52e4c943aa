"""Pictures per second per watt, where the power of what runs the network is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from cascadeport.results.conditions import Conditions


@dataclass(frozen=True)
class Energy:
    """What a pass drew.

    Args:
        source: Whose power it is.
        watts: The mean over the timed passes.
        idle: What it draws with nothing to do; None if that is not known.
        ips_per_watt: Pictures per second, end to end, per watt above idle; None without `idle`.
    """

    source: str
    watts: float
    idle: float | None
    ips_per_watt: float | None


def energy(conditions: Conditions | None, end_to_end_ips: float | None) -> Energy | None:
    """The energy of a pass; None where no power is known.

    A device's own power counts if its tool tells it, else that of the processor packages. The rate
    is the end-to-end one: it is that of the seconds in which the power was drawn.
    """
    if conditions is None:
        return None
    drawn = [one for one in conditions.devices if one.power_w_mean is not None]
    if drawn:
        idles = [one.power_w_idle for one in drawn]
        known = [one for one in idles if one is not None]
        return _energy(
            ", ".join(one.device for one in drawn),
            math.fsum(one.power_w_mean or 0.0 for one in drawn),
            math.fsum(known) if len(known) == len(drawn) else None,
            end_to_end_ips,
        )
    if conditions.power_w is None:
        return None
    return _energy(
        "processor packages", conditions.power_w, conditions.idle_power_w, end_to_end_ips
    )


def _energy(source: str, watts: float, idle: float | None, rate: float | None) -> Energy:
    # A difference of a watt is within what these counters and tools are good for.
    usable = idle is not None and rate is not None and watts - idle >= 1.0
    return Energy(source, watts, idle, rate / (watts - idle) if usable else None)  # type: ignore[operator]
