"""This machine: Python and disk."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from cascadeport.core.check import Check, Finding
from cascadeport.core.context import Context
from cascadeport.pipeline.stages import data

_OLDEST = (3, 10)
# What a plan writes at most, from its parts' sizes: pictures and annotations (COCO 1.1 GB, twice
# while they are unpacked), checkpoint, graph and lowered graph (0.4 GB each).
_NEEDED_GB = {"coco": 4.0, "demo": 0.3}
_LEAST_GB = 0.3


def _python(context: Context) -> Finding:
    version = platform.python_version()
    if sys.version_info < _OLDEST:
        return Finding(
            "python",
            "fail",
            f"Python {version}.",
            reason="The orchestrator needs 3.10 or newer; the images have their own.",
            remedy="Make the environment with a newer one: make PYTHON=python3.11.",
        )
    return Finding("python", "ok", f"Python {version}.")


def _disk(context: Context) -> Finding:
    needed = _NEEDED_GB.get(data.requested(context.options, context.target), _LEAST_GB)
    worst = Finding("disk", "ok", "")
    seen = []
    for folder in (context.options.build, context.options.results):
        parent = _existing_parent(folder)
        free = shutil.disk_usage(parent).free / 1e9
        seen.append(f"{free:.1f} GB free for {folder}")
        if free < needed and worst.status != "fail":
            worst = Finding(
                "disk",
                "fail" if free < _LEAST_GB else "warn",
                f"{free:.1f} GB free for {folder}.",
                reason=f"This plan writes up to {needed:.1f} GB.",
                remedy="Free some, or give another folder: --build /other/disk "
                "--results /other/disk.",
            )
    return worst if worst.finding else Finding("disk", "ok", "; ".join(seen) + ".")


def _existing_parent(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    while not path.exists():
        path = path.parent
    return path


CHECKS = (
    Check("python", lambda context: True, _python),
    Check("disk", lambda context: True, _disk),
)
