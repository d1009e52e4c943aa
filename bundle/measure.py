"""The raw times of every picture, and their statistics. What was not measured is None."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from bundle.errors import BundleError

STEPS = ("decode", "preprocess", "h2d", "device", "d2h", "postprocess")
HEADER = "pass,id,chip," + ",".join(step + "_ms" for step in STEPS) + ",finished_ms\n"
# Where a chip works on several pictures at once, as well when it began with each.
OVERLAPPING = HEADER.rstrip("\n") + ",began_ms\n"
# Statistics are derived from times as times.csv has them, so that they can be derived again from
# the file, to the last bit.
_DIGITS = 4

# Each percentile and how many samples it needs: so many that with 99 % confidence at least two are
# beyond it. That is the least n with P(Binomial(n, 1 - p) <= 1) <= 0.01, as in loadgen's early
# stopping (mlcommons/inference, loadgen/early_stopping.cc).
PERCENTILES = {"p50": (0.50, 1), "p90": (0.90, 64), "p99": (0.99, 662)}

# What can limit the rate of a pass, and the steps of each.
_STAGES = {
    "decode+preprocess": ("decode", "preprocess"),
    "device": ("h2d", "device", "d2h"),
    "postprocess": ("postprocess",),
}

Interval = Tuple[float, float]


@dataclass
class Times:
    """The milliseconds of one picture's steps; None if the runtime does not report a step.

    `chip` is the index, from 0, of the chip that ran the network. `began` is when it began with the
    picture, in milliseconds since the pass started, where it works on several at once.
    """

    decode: Optional[float] = None
    preprocess: Optional[float] = None
    h2d: Optional[float] = None
    device: Optional[float] = None
    d2h: Optional[float] = None
    postprocess: Optional[float] = None
    chip: int = 0
    began: Optional[float] = None

    def row(self, number: int, picture_id: int, finished: float) -> str:
        """A line of times.csv.

        Args:
            number: The pass, from 1.
            picture_id: The picture.
            finished: When it was finished, in seconds since the pass started.
        """
        values = [getattr(self, step) for step in STEPS] + [finished * 1000.0]
        if self.began is not None:
            values.append(self.began)
        cells = ["" if value is None else "{:.{}f}".format(value, _DIGITS) for value in values]
        return "{},{},{},{}\n".format(number, picture_id, self.chip, ",".join(cells))


class Pass:
    """The raw times of one pass, in a few bytes per picture."""

    def __init__(self) -> None:
        self._steps = {step: array("d") for step in STEPS}
        self._finished = array("d")
        self._chips = array("H")
        self._began = array("d")

    def add(self, times: Times, finished: float) -> None:
        """Adds a picture that was finished `finished` seconds after the pass started."""
        for step, values in self._steps.items():
            value = getattr(times, step)
            if value is not None:
                values.append(round(value, _DIGITS))
        self._finished.append(round(finished * 1000.0, _DIGITS))
        self._chips.append(times.chip)
        if times.began is not None:
            self._began.append(round(times.began, _DIGITS))

    @property
    def is_ordered(self) -> bool:
        """Whether every picture was finished after the one before it, as in a real pass."""
        finished = self._finished
        return all(before <= after for before, after in zip(finished, finished[1:]))

    @property
    def pictures(self) -> int:
        """How many pictures are finished."""
        return len(self._finished)

    @property
    def seconds(self) -> float:
        """How long it took until the last picture was finished."""
        return self._finished[-1] / 1000.0 if self._finished else 0.0

    def step(self, step: str) -> Sequence[float]:
        """The milliseconds of one step, in the order of the pictures."""
        return self._steps[step]

    def throughput(self, pictures: Optional[int] = None) -> Dict[str, Any]:
        """Pictures per second of the first `pictures` pictures: per chip, per device, end to end.

        The device's rate is the sum of the rates that its chips reached in this pass, working at
        the same time. It is never one chip's rate times their number. A chip that works on several
        pictures at once has the rate of the time in which it worked on any of them, by the clock
        on the wall: never the sum of what each of them would make alone.
        """
        count = self.pictures if pictures is None else min(pictures, self.pictures)
        device = self._steps["device"][:count]
        milliseconds = self._finished[count - 1] if count else 0.0
        if self.is_overlapping:
            chip, rates = self._overlapping(count)
        else:
            overall, rates = mean(device), self._in_turn(device)
            chip = 1000.0 / overall if overall else None
        return {
            "chip_ips": chip,
            "device_ips": math.fsum(rates) if rates else None,
            "end_to_end_ips": 1000.0 * count / milliseconds if milliseconds else None,
            "pictures": count,
        }

    @property
    def is_overlapping(self) -> bool:
        """Whether it is known when the device began with each picture, as where they overlap."""
        return bool(self._began) and len(self._began) == len(self._steps["device"])

    def _in_turn(self, device: Sequence[float]) -> List[float]:
        per_chip: Dict[int, List[float]] = {}
        for chip, one in zip(self._chips, device):
            per_chip.setdefault(chip, []).append(one)
        means = [mean(values) for values in per_chip.values()]
        return [1000.0 / each for each in means if each]

    def _overlapping(self, count: int) -> Tuple[Optional[float], List[float]]:
        """The rate of a chip over all pictures, and that of each."""
        busy = {chip: union(found) for chip, found in self.intervals(count).items()}
        counts = {chip: self._chips[:count].count(chip) for chip in busy}
        rates = [1000.0 * counts[chip] / each for chip, each in busy.items() if each]
        if len(rates) < 2:
            return (rates[0] if rates else None), rates
        return 1000.0 * count / math.fsum(busy.values()), rates

    @property
    def finished(self) -> Sequence[float]:
        """When each picture was finished, in milliseconds since the pass started."""
        return self._finished

    def in_order(self) -> List[Interval]:
        """When the network began and ended with each picture, likewise, where that is known."""
        return [(began, began + one) for began, one in zip(self._began, self._steps["device"])]

    def moments(self) -> List[Tuple[int, float]]:
        """The chip of each picture, and when its network began, likewise."""
        return list(zip(self._chips, self._began))

    def intervals(self, count: Optional[int] = None) -> Dict[int, List[Interval]]:
        """The same for each chip."""
        found: Dict[int, List[Interval]] = {}
        for chip, one in zip(self._chips[:count], self.in_order()):
            found.setdefault(chip, []).append(one)
        return found


class Recorded(NamedTuple):
    """A pass as times.csv has it, and the ids of its pictures."""

    times: Pass
    ids: List[int]


def read_times(path: str) -> List[Recorded]:
    """Reads times.csv: every pass, in order.

    Raises:
        BundleError: The file cannot be read, or it is not what a pass writes.
    """
    passes: List[Recorded] = []
    line_number, overlapping = 0, False
    try:
        with open(path, encoding="utf-8") as stream:
            for line_number, line in enumerate(stream, 1):
                if line_number == 1:
                    if line not in (HEADER, OVERLAPPING):
                        raise ValueError("other columns than this version writes")
                    overlapping = line == OVERLAPPING
                    continue
                _read_line(line, passes, overlapping)
    except (OSError, ValueError, OverflowError) as failure:
        raise BundleError(
            "The times of the pass cannot be read: {}.".format(failure),
            "{}, line {}".format(path, line_number) if line_number else path,
            "Run the target again: it writes new ones.",
        ) from None
    return passes


def _read_line(line: str, passes: List[Recorded], overlapping: bool) -> None:
    number, picture, chip, *cells = line.rstrip("\n").split(",")
    if len(cells) != len(STEPS) + 1 + overlapping:
        raise ValueError("another number of cells")
    values = [float(cell) if cell else None for cell in cells]
    if not all(value is None or 0 <= value < math.inf for value in values):
        raise ValueError("a time is not a number of milliseconds")
    began = values.pop() if overlapping else None
    finished = values.pop()
    if overlapping and began is None:
        raise ValueError("no time at which the network began")
    if finished is None:
        raise ValueError("no time at which the picture was finished")
    if int(number) == len(passes) + 1:
        passes.append(Recorded(Pass(), []))
    if int(number) != len(passes):
        raise ValueError("passes are not in order")
    times = Times(**dict(zip(STEPS, values)), chip=int(chip), began=began)
    # `finished_ms` has been rounded already: the way through seconds must not change it.
    passes[-1].times.add(times, finished / 1000.0)
    passes[-1].ids.append(int(picture))


def summarise(passes: Sequence[Pass], workers: int, lanes: int = 1) -> Dict[str, Any]:
    """The summary of run.json (docs/architecture.md).

    `chip_ips` is the rate of one chip, `device_ips` and `end_to_end_ips` those of all together.

    Args:
        passes: The scored pass, then the repeats over its first pictures.
        workers: How many threads decode and preprocess.
        lanes: How many chips run the network.
    """
    scored = passes[0]
    rates = scored.throughput()
    subset = passes[1].pictures if len(passes) > 1 else scored.pictures
    repeats = [one.throughput(subset) for one in passes]
    return {
        "chip_ips": rates["chip_ips"],
        "device_ips": rates["device_ips"],
        "end_to_end_ips": rates["end_to_end_ips"],
        "bound_by": bound_by(scored, workers, lanes),
        "repeats": repeats,
        "spread": {
            key: spread([one[key] for one in repeats])
            for key in ("chip_ips", "device_ips", "end_to_end_ips")
        },
        "steps_ms": {
            step: statistics(scored.step(step)) if scored.step(step) else None for step in STEPS
        },
        "latency_ms": statistics(scored.step("device")),
        "percentiles": "nearest rank",
    }


def statistics(values: Sequence[float]) -> Dict[str, Any]:
    """n, mean and percentiles by nearest rank; None where there are too few samples."""
    ordered = sorted(values)
    result: Dict[str, Any] = {"n": len(ordered), "mean": mean(ordered)}
    for name, (fraction, needed) in PERCENTILES.items():
        rank = max(1, math.ceil(fraction * len(ordered)))
        result[name] = ordered[rank - 1] if len(ordered) >= needed else None
    return result


def bound_by(scored: Pass, workers: int, lanes: int) -> Optional[str]:
    """The stage that takes longest per picture, and so limits the rate; None without pictures."""
    costs = {}
    for stage, steps in _STAGES.items():
        present = [mean(scored.step(step)) for step in steps]
        costs[stage] = sum(value for value in present if value is not None)
    costs["decode+preprocess"] /= workers
    rate = scored.throughput()["device_ips"] if scored.is_overlapping else None
    costs["device"] = 1000.0 / rate if rate else costs["device"] / lanes
    if not any(costs.values()):
        return None
    return max(costs, key=lambda stage: costs[stage])


def union(intervals: Sequence[Interval]) -> float:
    """How long it is in all that at least one of the intervals lasts."""
    parts, reached = [], 0.0
    for begin, end in sorted(intervals):
        if end > reached:
            parts.append(end - max(begin, reached))
            reached = end
    return math.fsum(parts)


def mean(values: Sequence[float]) -> Optional[float]:
    """The mean, or None without values."""
    return math.fsum(values) / len(values) if values else None


def spread(values: Sequence[Optional[float]]) -> Optional[float]:
    """(max - min) / mean, or None with fewer than two values."""
    known = [value for value in values if value is not None]
    centre = mean(known)
    if len(known) < 2 or not centre:
        return None
    return (max(known) - min(known)) / centre
