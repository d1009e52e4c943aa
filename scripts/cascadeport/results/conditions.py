"""The conditions of the timed passes, derived from what was sampled (docs/evaluation.md)."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from bundle import conditions as sampled
from bundle.conditions import Sample
from bundle.errors import BundleError
from bundle.measure import read_times
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import RECORD_LIMIT, read_bytes
from cascadeport.core.device import DeviceState
from cascadeport.pipeline.watch import FILE as DEVICE
from cascadeport.results.run_record import RunRecord
from cascadeport.results.schema import Record
from cascadeport.results.times import TIMES, has_none

SHARED = 0.1
"""A run shared its processor if others kept more than this part of it busy."""

# Samples this close together say little about a rate: processor time is counted in hundredths.
_SHORTEST_S = 0.5
# The counters are read one after the other.
_TOLERANCE_S = 0.5


class Device(Record):
    """A device during the pass: extremes of what its tool said; None where it did not.

    `power_w_mean` is over the pass, `power_w_idle` what it drew before, with nothing to do.
    """

    device: str
    clock_mhz_min: float | None = None
    clock_mhz_max: float | None = None
    temperature_c_max: float | None = None
    power_w_max: float | None = None
    power_w_mean: float | None = None
    power_w_idle: float | None = None
    throttled: list[str] = []
    processes_max: int | None = None


class Conditions(Record):
    """The conditions of the timed passes together. A number that nothing tells is None.

    `own_cores`, `others_cores` and `stolen_cores` are processor seconds per second: of the pass, of
    everybody else on the machine, and of others outside a virtual machine. `others_cores_peak` is
    the largest between two samples. `power_w` is what all processor packages drew, `idle_power_w`
    what they drew just before, while the pass waited; `sampling_cpu_s` is what sampling took.
    the largest between two samples. `own_locks`: whether it waited only for runs that share its
    own folder of locks.
    """

    cores: int
    seconds: float
    samples: int
    own_cores: float | None = None
    others_cores: float | None = None
    others_cores_peak: float | None = None
    stolen_cores: float | None = None
    load_before: float | None = None
    load_max: float | None = None
    mhz_min: float | None = None
    mhz_max: float | None = None
    throttled: int | None = None
    power_w: float | None = None
    idle_power_w: float | None = None
    sampling_cpu_s: float | None = None
    own_locks: bool = False
    devices: list[Device] = []

    @property
    def taken(self) -> float | None:
        """The part of the processor that others had, from 0 to 1."""
        if self.others_cores is None:
            return None
        return (self.others_cores + (self.stolen_cores or 0.0)) / self.cores


def derive(
    folder: Path, run: RunRecord, settings: Mapping[str, Any]
) -> tuple[Conditions | None, list[str]]:
    """Derives the conditions of a pass from what was sampled in it.

    Args:
        folder: The pass's folder.
        run: Its run.json.
        settings: Its job, without networks and pictures.

    Returns:
        The conditions, None where nothing was sampled; and what makes the result invalid, a clause
        each.
    """
    if has_none(folder / sampled.NAME, run, settings):
        return None, []
    try:
        samples = _samples(folder / sampled.NAME)
        passes = read_times(str(folder / TIMES))
        devices = _devices(folder / DEVICE)
    except (CascadeportError, BundleError) as error:
        where = Path(error.where.split(",")[0]).name
        return None, [f"infer/{where}: {error.what.rstrip('.')}"]
    seconds = samples[-1].seconds
    timed = math.fsum(one.times.seconds for one in passes)
    problems = []
    if seconds < timed - _TOLERANCE_S:
        problems.append(
            f"infer/{sampled.NAME} is about {seconds:.1f} s, infer/{TIMES} about {timed:.1f} s"
        )
    problems += [
        f"not alone on the device: {one.processes_max} processes on {one.device} during the pass"
        for one in devices
        if (one.processes_max or 0) > 1
    ]
    summary = _summary(samples, devices, run.environment)
    own_locks = run.environment.get("locks") is not None
    return summary.model_copy(update={"own_locks": own_locks}), problems


def remarks(conditions: Conditions | None) -> list[str]:
    """What has to be said in the row, a sentence each."""
    if conditions is None:
        return ["The conditions of its pass were not recorded."]
    found = []
    taken = conditions.taken
    if taken is None:
        found.append("Nothing tells whether others used the processor during its timed passes.")
    elif taken > SHARED:
        others = taken * conditions.cores
        found.append(
            f"It shared its processor: others kept {others:.1f} of {conditions.cores} cores busy "
            f"during the timed passes, more than {SHARED * 100:.0f} %."
        )
    if conditions.throttled:
        found.append(
            f"The processor was slowed down {conditions.throttled} times because of heat during "
            "its timed passes."
        )
    if conditions.own_locks:
        found.append(
            "It waited for no other runs than those with its own folder of locks "
            "(CASCADEPORT_LOCKS)."
        )
    found += [
        f"{one.device} was slower than it could be during its pass: {', '.join(one.throttled)}."
        for one in conditions.devices
        if one.throttled
    ]
    return found


def _samples(path: Path) -> list[Sample]:
    content = read_bytes(path, "record of the conditions", limit=RECORD_LIMIT)
    lines = content.decode("utf-8", "replace").splitlines(keepends=True)
    try:
        if not lines or lines[0] != sampled.HEADER:
            raise ValueError("other columns than this version writes")
        found = [_sample(line) for line in lines[1:]]
        if len(found) < 2:
            raise ValueError("fewer than two samples")
        for one, other in itertools.pairwise(found):
            if other.seconds < one.seconds or other.cores != one.cores:
                raise ValueError("samples are not in order")
    except (ValueError, OverflowError) as error:
        raise CascadeportError(
            f"The record of the conditions cannot be read: {error}.", where=str(path)
        ) from None
    return found


def _sample(line: str) -> Sample:
    cells = line.rstrip("\n").split(",")
    if len(cells) != len(Sample._fields):
        raise ValueError("another number of cells")
    seconds, cores, busy, own, stolen, load, mhz, throttled, energy = (
        float(cell) if cell else None for cell in cells
    )
    given = (seconds, cores, busy, own, stolen, load, mhz, throttled, energy)
    known = [one for one in given if one]
    if not all(0 <= one < math.inf for one in known):
        raise ValueError("a number that cannot be")
    if seconds is None or own is None or not cores:
        raise ValueError("a cell is empty")
    count = None if throttled is None else int(throttled)
    return Sample(seconds, int(cores), busy, own, stolen, load, mhz, count, energy)


def _summary(
    samples: Sequence[Sample], devices: list[Device], environment: Mapping[str, Any]
) -> Conditions:
    first, last = samples[0], samples[-1]
    before = environment.get("load_before_pass")
    clocks = [one.mhz for one in samples if one.mhz is not None]
    counts = [one.throttled for one in samples if one.throttled is not None]
    loads = [one.load for one in samples if one.load is not None]
    return Conditions(
        cores=first.cores,
        seconds=last.seconds,
        samples=len(samples),
        own_cores=_rate(first, last, "own_s"),
        others_cores=_others(first, last),
        others_cores_peak=_peak(samples),
        stolen_cores=_rate(first, last, "stolen_s"),
        load_before=before if isinstance(before, float) else loads[0] if loads else None,
        load_max=max(loads, default=None),
        mhz_min=min(clocks, default=None),
        mhz_max=max(clocks, default=None),
        throttled=counts[-1] - counts[0] if counts else None,
        power_w=_rate(first, last, "energy_j"),
        idle_power_w=_number(environment.get("idle_power_w")),
        sampling_cpu_s=_number(environment.get("sampling_cpu_s")),
        devices=devices,
    )


def _number(value: object) -> float | None:
    is_one = isinstance(value, (int, float)) and math.isfinite(value) and value >= 0
    return float(value) if is_one else None  # type: ignore[arg-type]


def _rate(first: Sample, last: Sample, counter: str) -> float | None:
    began, ended = getattr(first, counter), getattr(last, counter)
    seconds = last.seconds - first.seconds
    return (ended - began) / seconds if None not in (began, ended) and seconds > 0 else None


def _others(first: Sample, last: Sample) -> float | None:
    busy, own = _rate(first, last, "busy_s"), _rate(first, last, "own_s")
    if busy is None or own is None or busy < own / 2:
        # A system that shows a container or a sandbox less than everything.
        return None
    return max(0.0, busy - own)


def _peak(samples: Sequence[Sample]) -> float | None:
    found, earlier = [], samples[0]
    for one in samples[1:]:
        if one.seconds - earlier.seconds >= _SHORTEST_S:
            found.append(_others(earlier, one))
            earlier = one
    return max((one for one in found if one is not None), default=None)


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True)

    when: str
    devices: tuple[DeviceState, ...] = ()


def _devices(path: Path) -> list[Device]:
    """Every device during the pass, by name; none where there is no file."""
    if not path.exists():
        return []
    content = read_bytes(path, "record of the device", limit=RECORD_LIMIT)
    try:
        lines = [
            _Line.model_validate(json.loads(line)) for line in content.decode("utf-8").splitlines()
        ]
    except (ValueError, RecursionError, ValidationError):
        raise CascadeportError(
            "The record of the device is not in the format of this version.", where=str(path)
        ) from None
    idle = {
        state.device: state.power_w
        for line in lines
        if line.when == "before"
        for state in line.devices
        # A device that others use before the pass does not show what it draws when idle.
        if not state.processes
    }
    states = [state for line in lines if line.when == "during" for state in line.devices]
    powers = [one for one in states if one.power_w is not None]
    # A pass of a few seconds has nothing in between: what can be said is said of its ends.
    states = states or [state for line in lines for state in line.devices]
    names = dict.fromkeys(state.device for state in states)
    found = []
    for name in names:
        device = _device(name, [one for one in states if one.device == name])
        drawn = [one.power_w for one in powers if one.device == name and one.power_w is not None]
        mean = math.fsum(drawn) / len(drawn) if drawn else None
        update = {"power_w_mean": mean, "power_w_idle": idle.get(name)}
        found.append(device.model_copy(update=update))
    return found


def _device(name: str, states: Sequence[DeviceState]) -> Device:
    clocks = [one.clock_mhz for one in states if one.clock_mhz is not None]
    heat = [one.temperature_c for one in states if one.temperature_c is not None]
    power = [one.power_w for one in states if one.power_w is not None]
    processes = [one.processes for one in states if one.processes is not None]
    return Device(
        device=name,
        clock_mhz_min=min(clocks, default=None),
        clock_mhz_max=max(clocks, default=None),
        temperature_c_max=max(heat, default=None),
        power_w_max=max(power, default=None),
        throttled=list(dict.fromkeys(why for one in states for why in one.throttled)),
        processes_max=max(processes, default=None),
    )
