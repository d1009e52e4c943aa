"""The energy that the processors use, where the system counts it: Linux's powercap (RAPL).

Documentation/power/powercap/powercap.rst of the Linux kernel: `energy_uj` counts microjoules up to
`max_energy_range_uj` and starts again. A zone `intel-rapl:N` is a processor package, on AMD as
well; zones below it are parts of it, which count twice if they are added. Since Linux 5.10 only
root may read the counters, and virtual machines have none.
"""

from __future__ import annotations

import glob
import os
import time
from typing import Optional

ROOT = "/sys/class/powercap"


class Energy:
    """Counts joules from its making on; None where the system does not tell."""

    def __init__(self, root: str = ROOT) -> None:
        packages = sorted(glob.glob(os.path.join(glob.escape(root), "intel-rapl:*")))
        self._packages = [_Package(one) for one in packages if one.count(":") == 1]

    def read(self) -> Optional[float]:
        """Joules of all packages since this was made."""
        found = [package.read() for package in self._packages]
        known = [joules for joules in found if joules is not None]
        return sum(known) if found and len(known) == len(found) else None


class _Package:
    def __init__(self, folder: str) -> None:
        self._path = os.path.join(folder, "energy_uj")
        self._range = _number(os.path.join(folder, "max_energy_range_uj"))
        self._last = _number(self._path)
        self._total = 0

    def read(self) -> Optional[float]:
        now = _number(self._path)
        if now is None or self._last is None:
            return None
        step = now - self._last
        if step < 0:
            # It has started again. Sampled once a second, it cannot have done so twice.
            if self._range is None:
                return None
            step += self._range
        self._last = now
        self._total += step
        return self._total / 1e6


def idle_watts(seconds: float = 1.0, root: str = ROOT) -> Optional[float]:
    """What the packages draw while this process waits; at once None where nothing tells."""
    energy = Energy(root)
    if energy.read() is None:
        return None
    began = time.perf_counter()
    time.sleep(seconds)
    joules = energy.read()
    return None if joules is None else joules / (time.perf_counter() - began)


def _number(path: str) -> Optional[int]:
    try:
        with open(path, encoding="ascii") as stream:
            return int(stream.read())
    except (OSError, ValueError):
        return None
