"""What a pass ran on, in enough detail to explain why two results differ."""

from __future__ import annotations

import os
import platform
import sys
import time
from typing import Any, Dict, Optional

import cv2
import numpy as np

from bundle.job import Job
from bundle.runners import Runner


def environment(job: Job, runner: Runner) -> Dict[str, Any]:
    """The `environment` of run.json."""
    result: Dict[str, Any] = dict(versions())
    result.update(host(), threads=job.runner.threads, workers=job.workers)
    if job.runner.streams > 1:
        result["streams"] = job.runner.streams
    result.update(runner.describe())
    return result


def versions() -> Dict[str, str]:
    """The versions of Python and of the bundle's libraries."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def host() -> Dict[str, str]:
    """The processor's model and architecture, and the operating system."""
    return {
        "cpu": _cpu_model(),
        "machine": platform.machine(),
        "platform": platform.platform(),
    }


def peak_rss_bytes() -> Optional[int]:
    """The peak resident memory of this process in bytes; None where it is not known.

    This is the kernel's own figure for this program. `getrusage` is only a fallback: on Linux its
    figure includes what the parent process had used before it started this program.
    """
    value = _proc_field("/proc/self/status", "VmHWM")
    if value is not None:
        return int(value.split()[0]) * 1024
    try:
        import resource
    except ImportError:  # on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def process_began() -> float:
    """When this process began, by `time.monotonic`; where that is not known, now."""
    try:
        with open("/proc/self/stat", encoding="utf-8", errors="replace") as stream:
            # The name before the last parenthesis may have spaces in it.
            ticks = int(stream.read().rpartition(")")[2].split()[19])
        since_boot = time.clock_gettime(time.CLOCK_BOOTTIME)
        age = since_boot - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        age = 0.0
    return time.monotonic() - max(0.0, age)


def _cpu_model() -> str:
    model = _proc_field("/proc/cpuinfo", "model name")
    if model is not None:
        return model
    # An Arm has numbers instead of a name: a Kunpeng 920 is implementer 0x48, part 0xd01.
    part = _proc_field("/proc/cpuinfo", "CPU part")
    if part is not None:
        return "implementer {}, part {}".format(
            _proc_field("/proc/cpuinfo", "CPU implementer"), part
        )
    return platform.processor() or "unknown"


def _proc_field(path: str, name: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as stream:
            for line in stream:
                key, _, value = line.partition(":")
                if key.strip() == name:
                    return value.strip()
    except OSError:
        pass
    return None
