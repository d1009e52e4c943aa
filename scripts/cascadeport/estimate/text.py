"""An estimate for people."""

from __future__ import annotations

from collections.abc import Iterator

from cascadeport.estimate.model import Estimate, Range

_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_UNKNOWN = "not known"
_BOUND = {
    "devices": "the devices",
    "processors": "the hosts' processors: the devices wait for pictures to be prepared",
    "storage": "the storage: the devices wait for pictures to be read",
}


def lines(one: Estimate) -> Iterator[str]:
    """The lines of a report."""
    question = one.question
    named = ", ".join(f"{count} x {name}" for name, count in question.devices.items())
    yield f"estimate  {question.pictures:,} pictures on {named}, {one.shards:,} shards"
    for name, figure in one.figures.items():
        rate = _span(Range(figure.rate.value, figure.rate.low, figure.rate.high), _decimal)
        start = _UNKNOWN if figure.startup_s is None else f"{figure.startup_s:.1f} s"
        mark = "measured" if figure.status == "measured" else "PUBLISHED, not measured"
        yield f"device    {name}: {rate} pictures/s each, start {start}; {mark}: {figure.source}"
    yield f"duration  {_span(one.duration, duration)}, {_decimal(one.rate)} pictures/s together"
    yield f"bound     {_BOUND[one.bound]}"
    if one.busy < 0.995:
        yield f"idle      devices work {one.busy:.0%} of that time: shards do not end together"
    yield f"host      {_host(one)}"
    yield f"storage   {_storage(one)}"
    sizes = (
        ("pictures", one.pictures_bytes),
        ("results", one.found_bytes),
        (f"image on {question.hosts} hosts" if question.hosts > 1 else "image", one.image_bytes),
    )
    listed = ", ".join(f"{name} {size(value)}" for name, value in sizes)
    yield f"disk      {listed}" + (f" (by {one.sizes.source})" if one.sizes.source else "")
    yield f"network   {_network(one)}"
    for text in one.unknown:
        yield f"unknown   {text}"
    for text in one.notes:
        yield f"note      {text}"


def _host(one: Estimate) -> str:
    if one.cores_needed is None:
        return f"cores needed: {_UNKNOWN}"
    text = f"{_decimal(one.cores_needed)} cores keep the devices busy"
    if one.question.cores is not None:
        text += f", {one.question.cores} are there"
    if one.host is not None:
        text += f"; a picture takes {one.host.ms:.1f} ms of one ({one.host.source})"
    return text


def _storage(one: Estimate) -> str:
    if one.storage_needed is None:
        return f"bytes per second needed: {_UNKNOWN}"
    text = f"{size(one.storage_needed)}/s keep the devices busy"
    if one.question.storage is not None:
        text += f", {size(one.question.storage)}/s are there"
    return text


def _network(one: Estimate) -> str:
    """What goes where, and how fast while the devices work."""
    held = one.rate / one.wanted
    rate = _UNKNOWN if one.storage_needed is None else f"{size(one.storage_needed * held)}/s"
    return (
        f"{size(one.pictures_bytes)} to the hosts ({rate} while they work), "
        f"{size(one.found_bytes)} back, and the image first"
    )


def _span(one: Range, show: object) -> str:
    assert callable(show)
    if one.low is None or one.high is None:
        return str(show(one.value))
    return f"{show(one.value)} ({show(one.low)} to {show(one.high)})"


def _decimal(value: float) -> str:
    return f"{value:,.2f}" if value < 100 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days: the two largest."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 24:
        return f"{hours} h {minutes} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"


def size(value: float | None) -> str:
    """Bytes, in units that disks are sold by."""
    if value is None:
        return _UNKNOWN
    for unit, name in _UNITS:
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.0f} bytes"
