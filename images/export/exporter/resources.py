"""Checks memory and disk space before the export starts."""

import os
import resource
import shutil

from .errors import ExportError

GIB = float(1 << 30)


def available_memory():
    """Bytes that this process may still allocate, on the machine and in its control group."""
    limits = []
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            with open(limit) as first, open(usage) as second:
                limits.append(int(first.read()) - int(second.read()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(limits) if limits else None


def peak_memory():
    """The largest resident size of this process so far, in bytes.

    From the kernel's high-water mark for this process; `getrusage` starts at the parent's.
    """
    try:
        with open("/proc/self/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # not on Linux
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def needs(weights, shape, pictures):
    """The most (memory, disk) in bytes that an export needs.

    The memory is mostly the columns of the deformable convolutions (proportional to the area) and
    three copies of the weights (module, traced graph, file). Measured: 2.85 GiB for the R101
    (359 MB of weights) at 1216 x 1216, 0.29 GiB for the demo (6 MB) at 256 x 256.
    """
    area = shape[0] * shape[1]
    memory = 3.5 * weights + 1300 * area + 0.2 * GIB
    disk = 1.05 * weights + 2 * 12 * area * pictures
    return memory, disk


def check(weights, shape, pictures, folder):
    """Raises ExportError if memory or disk space is insufficient."""
    memory, disk = needs(weights, shape, pictures)
    available = available_memory()
    if available is not None and available < memory:
        raise ExportError(
            "The export needs about {:.1f} GiB of memory; {:.1f} GiB are available.".format(
                memory / GIB, available / GIB
            ),
            next="Close other programs, raise the container's limit, or use a smaller --shape.",
        )
    free = shutil.disk_usage(os.path.dirname(os.path.abspath(folder))).free
    if free < disk:
        raise ExportError(
            "The export writes about {:.1f} GiB; {:.1f} GiB are free.".format(
                disk / GIB, free / GIB
            ),
            where=folder,
            next="Free some space, or name a folder on another disk with --out.",
        )
