"""The estimate: duration, what the host and the storage have to give, and which of them bounds.

Devices, processors and storage work at the same time (the pass is a stream), so the slowest of them
sets the rate. Nothing is assumed about what was not measured: it is left out, and said to be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cascadeport.estimate import schedule
from cascadeport.estimate.figures import Figure, Host, Known, Sizes

Bound = Literal["devices", "processors", "storage"]
FORMAT = 1
_SHARDS_OF_A_DEVICE = 8


@dataclass(frozen=True)
class Question:
    """What is asked.

    Args:
        pictures: How many.
        devices: How many of each device.
        shards: Into how many shares; None: see `shards_of`.
        cores: The processor cores of all hosts together; None: enough.
        storage: Bytes per second at which pictures can be read, all hosts together; None: enough.
        hosts: How many hosts get the image.
    """

    pictures: int
    devices: Mapping[str, int]
    shards: int | None = None
    cores: int | None = None
    storage: float | None = None
    hosts: int = 1


@dataclass(frozen=True)
class Range:
    """A value; and what it is with the slowest and the fastest measured passes, if known."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """The answer. Rates are pictures per second, sizes bytes; None: not known.

    Args:
        duration: Seconds until the last shard ends.
        rate: Of all devices together, as far as they are not held up.
        wanted: What the devices could do.
        bound: What holds them up; `devices` if nothing does.
        busy: The part of the time in which devices work.
        cores_needed: Processor cores that keep the devices busy.
        storage_needed: Bytes per second that keep them busy.
        pictures_bytes: Of all pictures.
        found_bytes: Of all results.
        image_bytes: Of the image, on all hosts.
        unknown: What was left out because it was not measured, in sentences.
    """

    question: Question
    shards: int
    figures: Mapping[str, Figure]
    host: Host | None
    sizes: Sizes
    duration: Range
    rate: float
    wanted: float
    bound: Bound
    busy: float
    cores_needed: float | None
    storage_needed: float | None
    pictures_bytes: float | None
    found_bytes: float | None
    image_bytes: int | None
    unknown: Sequence[str]
    notes: Sequence[str]


def estimate(question: Question, known: Known, image_bytes: int | None = None) -> Estimate:
    """Answers a question.

    Args:
        known: The figures of its devices.
        image_bytes: The size of the image, uncompressed.
    """
    figures = {name: known.figures[name] for name in question.devices}
    shards = shards_of(question)
    usual = {name: one.rate.value for name, one in figures.items()}
    factor, bound = _held_up(question, known, usual)
    ended = _ending(question, shards, figures, usual, factor)
    wanted = _together(question, usual)
    sizes = known.sizes
    return Estimate(
        question=question,
        shards=shards,
        figures=figures,
        host=known.host,
        sizes=sizes,
        duration=Range(ended.seconds, *_spread(question, known, figures, shards)),
        rate=wanted * factor,
        wanted=wanted,
        bound=bound,
        busy=ended.busy,
        cores_needed=_cores(question, known, usual),
        storage_needed=None if sizes.picture is None else wanted * sizes.picture,
        pictures_bytes=_times(sizes.picture, question.pictures),
        found_bytes=_times(sizes.found, question.pictures),
        image_bytes=None if image_bytes is None else image_bytes * question.hosts,
        unknown=_unknown(figures, known, image_bytes),
        notes=known.notes,
    )


def shards_of(question: Question) -> int:
    """How many shards there are: as asked; else one per device, and more where devices differ."""
    devices = sum(question.devices.values())
    if question.shards is not None:
        return question.shards
    usual = devices if len(question.devices) == 1 else devices * _SHARDS_OF_A_DEVICE
    return min(usual, question.pictures)


def _together(question: Question, rates: Mapping[str, float]) -> float:
    return sum(count * rates[name] for name, count in question.devices.items())


def _cores(question: Question, known: Known, rates: Mapping[str, float]) -> float | None:
    """The cores that keep devices at these rates; None: what a picture costs is not known."""
    needed = 0.0
    for name, count in question.devices.items():
        processors = known.figures[name].processors
        if processors is not None:
            # It prepares its own pictures: what was measured has that in it.
            needed += count * processors
        elif known.host is None:
            return None
        else:
            needed += count * rates[name] * known.host.ms / 1000
    return needed


def _held_up(question: Question, known: Known, rates: Mapping[str, float]) -> tuple[float, Bound]:
    """How much of the devices' rate is left (at most 1), and what holds them up."""
    found: list[tuple[float, Bound]] = [(1.0, "devices")]
    cores = _cores(question, known, rates)
    if question.cores is not None and cores:
        found.append((question.cores / cores, "processors"))
    if question.storage is not None and known.sizes.picture is not None:
        needed = _together(question, rates) * known.sizes.picture
        found.append((question.storage / needed, "storage"))
    return min(found, key=lambda one: one[0])


def _ending(
    question: Question,
    shards: int,
    figures: Mapping[str, Figure],
    rates: Mapping[str, float],
    factor: float,
) -> schedule.Ending:
    each = [name for name, count in question.devices.items() for _ in range(count)]
    return schedule.ending(
        question.pictures,
        shards,
        [rates[name] * factor for name in each],
        [figures[name].startup_s or 0.0 for name in each],
    )


def _spread(
    question: Question, known: Known, figures: Mapping[str, Figure], shards: int
) -> tuple[float | None, float | None]:
    """The duration with each device's fastest and its slowest pass; None: nobody knows one."""
    if all(one.rate.low is None for one in figures.values()):
        return None, None
    ends = []
    for edge in ("high", "low"):
        rates = {name: getattr(one.rate, edge) or one.rate.value for name, one in figures.items()}
        factor, _ = _held_up(question, known, rates)
        ends.append(_ending(question, shards, figures, rates, factor).seconds)
    return ends[0], ends[1]


def _times(each: float | None, count: int) -> float | None:
    return None if each is None else each * count


def _unknown(figures: Mapping[str, Figure], known: Known, image_bytes: int | None) -> list[str]:
    found = []
    published = [name for name, one in figures.items() if one.status == "published"]
    if published:
        found.append(
            f"whether {', '.join(published)} is as fast as published: nothing was measured, and no "
            "spread is known"
        )
    silent = [name for name, one in figures.items() if one.startup_s is None]
    if silent:
        found.append(f"how long {', '.join(silent)} takes to start: counted as nothing")
    if known.host is None:
        found.append(
            "what a picture costs the host's processor: no row of this model was measured here"
        )
    if known.sizes.picture is None:
        found.append(
            "how large a picture is: no measured row's pictures are here; --picture-size says it"
        )
    if image_bytes is None:
        found.append("how large the image is: none is frozen in dist/")
    return found


def as_json(one: Estimate) -> dict[str, Any]:
    """The answer for programs."""
    question = one.question
    return {
        "format": FORMAT,
        "pictures": question.pictures,
        "devices": [
            {
                "name": name,
                "count": question.devices[name],
                "title": figure.title,
                "status": figure.status,
                "source": figure.source,
                "ips": _range(figure.rate.value, figure.rate.low, figure.rate.high),
                "startup_s": figure.startup_s,
                "memory_bytes": figure.memory,
            }
            for name, figure in one.figures.items()
        ],
        "shards": one.shards,
        "duration_s": _range(one.duration.value, one.duration.low, one.duration.high),
        "ips": one.rate,
        "devices_ips": one.wanted,
        "bound_by": one.bound,
        "devices_busy": one.busy,
        "processors": {
            "needed": one.cores_needed,
            "given": question.cores,
            "ms_per_picture": one.host.ms if one.host else None,
            "source": one.host.source if one.host else None,
        },
        "storage": {
            "needed_bytes_per_s": one.storage_needed,
            "given_bytes_per_s": question.storage,
        },
        "disk": {
            "pictures_bytes": one.pictures_bytes,
            "results_bytes": one.found_bytes,
            "image_bytes": one.image_bytes,
            "source": one.sizes.source or None,
        },
        "network": {
            "to_hosts_bytes": _sum(one.pictures_bytes, one.image_bytes),
            "back_bytes": one.found_bytes,
            "pictures_bytes_per_s": None
            if one.storage_needed is None
            else one.storage_needed * one.rate / one.wanted,
        },
        "not_measured": list(one.unknown),
        "notes": list(one.notes),
    }


def _sum(pictures: float | None, image: int | None) -> float | None:
    return None if pictures is None else pictures + (image or 0)


def _range(value: float, low: float | None, high: float | None) -> dict[str, float | None]:
    return {"value": value, "low": low, "high": high}
