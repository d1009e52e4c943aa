"""What the pass ran on: enough to tell two results apart."""

from __future__ import annotations

import platform
import sys
from typing import Any, Dict, Optional

import cv2
import numpy as np

from bundle.job import Job
from bundle.runners import Runner


def environment(job: Job, runner: Runner) -> Dict[str, Any]:
    """The `environment` of run.json."""
    result: Dict[str, Any] = dict(versions())
    result.update(host(), threads=job.runner.threads, workers=job.workers)
    result.update(runner.describe())
    return result


def versions() -> Dict[str, str]:
    """What the bundle itself is run by."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def host() -> Dict[str, str]:
    """The machine."""
    return {"cpu": _cpu_model(), "platform": platform.platform()}


def peak_rss_bytes() -> Optional[int]:
    """The most memory this process held at any moment, in bytes; None where nobody tells.

    From the kernel's own mark for this program. `getrusage` is only asked elsewhere: on Linux it
    starts from what the parent had used before it started this program.
    """
    value = _proc_field("/proc/self/status", "VmHWM")
    if value is not None:
        return int(value.split()[0]) * 1024
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cpu_model() -> str:
    return _proc_field("/proc/cpuinfo", "model name") or platform.processor() or "unknown"


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
