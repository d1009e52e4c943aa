"""The conditions of the timed passes: who else used the processor, its clock, its throttling.

Sampled once a second by a thread of the pass's own process. Only counters are written; whoever
reads them derives what others used (docs/evaluation.md).
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from typing import Iterable, List, NamedTuple, Optional

from bundle.errors import BundleError
from bundle.files import Lines
from bundle.power import Energy

NAME = "conditions.csv"
HEADER = "seconds,cores,busy_s,own_s,stolen_s,load,mhz,throttled,energy_j\n"
PERIOD_S = 1.0

# The columns of a processor's line in /proc/stat (proc(5)) in which it was at work for somebody.
_BUSY = (0, 1, 2, 5, 6)
_STOLEN = 7
_SYSTEM = "/sys/devices/system/cpu"
# Asking every core of a large machine for its clock would cost more than it tells.
_CLOCKS = 8


class Sample(NamedTuple):
    """The counters at one moment; None where the system does not tell.

    Args:
        seconds: Since the first timed pass began.
        cores: How many processors this process may run on; the next two are about those.
        busy_s: Processor seconds of everybody, since the machine started.
        stolen_s: Processor seconds that a hypervisor gave to others, likewise.
        own_s: Processor seconds of this process and its children.
        load: The machine's load average over a minute.
        mhz: The mean clock of some of them.
        throttled: How often they were slowed down because of heat, since the machine started.
        energy_j: Joules of all processor packages since the first sample.
    """

    seconds: float
    cores: int
    busy_s: Optional[float]
    own_s: float
    stolen_s: Optional[float]
    load: Optional[float]
    mhz: Optional[float]
    throttled: Optional[int]
    energy_j: Optional[float] = None

    def line(self) -> str:
        """A line of conditions.csv."""
        cells = ["" if value is None else "{:.10g}".format(value) for value in self]
        return ",".join(cells) + "\n"


class Sampler:
    """Samples from the block's beginning to its end, both included.

    Args:
        path: conditions.csv.

    Attributes:
        cost_s: Processor seconds that sampling itself took.

    Raises:
        BundleError: The file cannot be written.
    """

    def __init__(self, path: str) -> None:
        self._lines = Lines(path, HEADER)
        self._cores = sorted(_allowed())
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="conditions", daemon=True)
        self._failure: Optional[BundleError] = None
        self._energy = Energy()
        self.cost_s = 0.0

    def __enter__(self) -> Sampler:
        self._lines.__enter__()
        self._start = time.perf_counter()
        # Throttling is counted: the first and the last number tell.
        self._write(throttling=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        try:
            if self._failure is None and error[0] is None:
                self._write(throttling=True)
        finally:
            self._lines.__exit__(*error)
        if self._failure is not None and error[0] is None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._over.wait(PERIOD_S):
                self._write()
        except BundleError as failure:
            self._failure = failure

    def _write(self, throttling: bool = False) -> None:
        began = time.thread_time()
        self._lines.write(sample(self._start, self._cores, throttling, self._energy).line())
        self.cost_s += time.thread_time() - began


def sample(
    start: float, cores: List[int], throttling: bool = True, energy: Optional[Energy] = None
) -> Sample:
    """Reads the counters.

    Args:
        start: `time.perf_counter()` when the first pass began.
        cores: The processors that this process may run on.
        throttling: Whether to read how often they were throttled.
        energy: Counts energy; None: it is not read.
    """
    own = _own_seconds()
    machine = _machine_seconds(cores)
    return Sample(
        seconds=time.perf_counter() - start,
        cores=len(cores),
        busy_s=machine[0] if machine else None,
        own_s=own,
        stolen_s=machine[1] if machine else None,
        load=_load(),
        mhz=_clock(cores),
        throttled=_throttled(cores) if throttling else None,
        energy_j=energy.read() if energy is not None else None,
    )


def _allowed() -> Iterable[int]:
    try:
        return os.sched_getaffinity(0)
    except AttributeError:  # not on Linux
        return range(os.cpu_count() or 1)


def _own_seconds() -> float:
    """Of this process, of children that have ended, and of those that run networks."""
    times = os.times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in multiprocessing.active_children():
        cells = _read("/proc/{}/stat".format(child.pid)).rpartition(")")[2].split()
        if len(cells) > 12:
            total += (int(cells[11]) + int(cells[12])) / _ticks()
    return total


def _machine_seconds(cores: List[int]) -> Optional[List[float]]:
    """Busy and stolen seconds of the processors; None where the system does not count them."""
    names = {"cpu{}".format(core) for core in cores}
    busy = stolen = 0
    for line in _read("/proc/stat").splitlines():
        name, _, rest = line.partition(" ")
        if name not in names:
            continue
        cells = [int(cell) for cell in rest.split()]
        if len(cells) <= _STOLEN:
            return None
        busy += sum(cells[column] for column in _BUSY)
        stolen += cells[_STOLEN]
    return [busy / _ticks(), stolen / _ticks()] if busy else None


def _ticks() -> int:
    return os.sysconf("SC_CLK_TCK")


def _load() -> Optional[float]:
    try:
        return os.getloadavg()[0]
    except OSError:
        return None


def _clock(cores: List[int]) -> Optional[float]:
    step = max(1, len(cores) // _CLOCKS)
    path = "{}/cpu{}/cpufreq/scaling_cur_freq"
    found = [_number(path.format(_SYSTEM, core)) for core in cores[::step][:_CLOCKS]]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) / 1000.0 if known else None


def _throttled(cores: List[int]) -> Optional[int]:
    """The sum of the cores' counts, and of the packages' as their most throttled core has it."""
    folder = "{}/cpu{}/thermal_throttle/{}"
    of_cores = [_number(folder.format(_SYSTEM, core, "core_throttle_count")) for core in cores]
    of_package = [_number(folder.format(_SYSTEM, core, "package_throttle_count")) for core in cores]
    known = [value for value in of_cores if value is not None]
    packages = [value for value in of_package if value is not None]
    if not known and not packages:
        return None
    return sum(known) + max(packages, default=0)


def _number(path: str) -> Optional[int]:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
