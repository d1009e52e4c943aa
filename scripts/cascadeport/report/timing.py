"""Where the time goes: what bounds a pass, where nodes ran, how speeds spread, what was drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cascadeport.results.conditions import Conditions
from cascadeport.results.energy import energy
from cascadeport.results.numbers import NONE, number
from cascadeport.results.result import Result
from cascadeport.results.speed import compare

Line = tuple[str, list[str]]
_BOUNDS = {
    "decode+preprocess": "decoding and preprocessing on the host",
    "device": "the device, with the copies to and from it",
    "postprocess": "postprocessing on the host",
}


def lines(shown: Sequence[Result]) -> list[Line]:
    """What explains the speed of each row: a name, and a cell per row. Empty lines are left out."""
    first = shown[0] if shown else None
    found: list[Line] = [
        ("bound by", [_bound(result) for result in shown]),
        ("device time is that of", [_said(result, "device_time") for result in shown]),
        ("nodes on the device", [nodes(result) for result in shown]),
        ("img/s of one chip, each pass", [_passes(result, "chip_ips") for result in shown]),
        ("device img/s of each pass", [_passes(result, "device_ips") for result in shown]),
        ("end-to-end img/s of each pass", [_passes(result, "end_to_end_ips") for result in shown]),
        ("device img/s against the first row", [_speed(result, first) for result in shown]),
        ("power in the passes, and idle", [_power(result) for result in shown]),
        ("img/s per watt above idle", [_per_watt(result) for result in shown]),
    ]
    if not any(_has_chips(result) for result in shown):
        found = [line for line in found if not line[0].startswith("img/s of one chip")]
    return [line for line in found if any(cell != NONE for cell in line[1])]


def nodes(result: Result) -> str:
    """How many of the network's nodes ran where it was asked to, and their share of the time."""
    placed = result.run.environment.get("nodes")
    if not isinstance(placed, dict) or not placed:
        return NONE
    provider = result.run.environment.get("provider")
    try:
        total = {key: sum(one[key] for one in placed.values()) for key in ("nodes", "ms")}
        own = placed.get(provider, {"nodes": 0, "ms": 0.0})
        share = own["ms"] / total["ms"] if total["ms"] else 0.0
        return f"{own['nodes']} of {total['nodes']}, {share:.1%} of the time of the first picture"
    except (KeyError, TypeError, AttributeError):
        return NONE


def conditions(shown: Sequence[Result]) -> list[Line]:
    """The conditions of the timed passes: a name, and a cell per row. Empty lines are left out."""
    facts: list[tuple[str, Callable[[Conditions], str]]] = [
        ("cores that the pass could use", lambda one: str(one.cores)),
        ("cores that it kept busy", lambda one: number(one.own_cores, 2)),
        ("cores that others kept busy", _others),
        ("cores that a hypervisor gave to others", lambda one: number(one.stolen_cores, 2)),
        ("load before, and the highest", _load),
        ("processor's clock, MHz", _clock),
        ("slowed down because of heat", _times),
        ("processor seconds of sampling", lambda one: number(one.sampling_cpu_s, 3)),
        ("devices", _devices),
    ]
    found = []
    for name, say in facts:
        cells = [say(one.conditions) if one.conditions else NONE for one in shown]
        if any(cell != NONE for cell in cells):
            found.append((name, cells))
    return found


def _bound(result: Result) -> str:
    bound = result.run.summary.bound_by
    return _BOUNDS.get(bound, bound) if bound else NONE


def _said(result: Result, key: str) -> str:
    value: Any = result.run.environment.get(key)
    return value if isinstance(value, str) and result.latency_ms is not None else NONE


def _has_chips(result: Result) -> bool:
    return result.chip_ips != result.device_ips


def _passes(result: Result, rate: str) -> str:
    values = [getattr(one, rate) for one in result.run.summary.repeats]
    return " · ".join(number(value, 2) for value in values) or NONE


def _speed(result: Result, first: Result | None) -> str:
    if first is None or result is first:
        return NONE
    speed = compare(result.run.summary, first.run.summary)
    return speed.sentence if speed else NONE


def _power(result: Result) -> str:
    found = energy(result.conditions, result.end_to_end_ips)
    if found is None:
        return NONE
    return f"{found.watts:.1f} W, {number(found.idle, 1)} W idle ({found.source})"


def _per_watt(result: Result) -> str:
    found = energy(result.conditions, result.end_to_end_ips)
    return number(found.ips_per_watt if found else None, 3)


def _others(one: Conditions) -> str:
    if one.others_cores is None:
        return NONE
    return f"{one.others_cores:.2f}, at most {number(one.others_cores_peak, 2)}"


def _load(one: Conditions) -> str:
    if one.load_before is None and one.load_max is None:
        return NONE
    return f"{number(one.load_before, 2)}, {number(one.load_max, 2)}"


def _clock(one: Conditions) -> str:
    if one.mhz_min is None:
        return NONE
    return f"{number(one.mhz_min, 0)} to {number(one.mhz_max, 0)}"


def _times(one: Conditions) -> str:
    return NONE if one.throttled is None else f"{one.throttled} times"


def _devices(one: Conditions) -> str:
    said = []
    for device in one.devices:
        facts = [
            f"{number(device.clock_mhz_min, 0)} to {number(device.clock_mhz_max, 0)} MHz"
            if device.clock_mhz_min is not None
            else "",
            f"up to {device.temperature_c_max:g} °C"
            if device.temperature_c_max is not None
            else "",
            f"slowed down: {', '.join(device.throttled)}" if device.throttled else "",
        ]
        said.append(f"{device.device}: {', '.join(filter(None, facts)) or 'nothing told'}")
    return "; ".join(said) or NONE
