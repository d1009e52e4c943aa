"""This machine: Python, disk, and the folders that a run writes to."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from cascadeport import backends
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


def _folders(context: Context) -> Finding:
    folders = (context.options.build, context.options.results)
    absent = [folder for folder in folders if not folder.is_dir()]
    for folder in folders:
        parent = _existing_parent(folder)
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            return Finding(
                "folders",
                "fail",
                f"{parent} cannot be written.",
                reason=f"A run writes to {folder}.",
                remedy="Give folders of your own: --build FOLDER --results FOLDER.",
            )
    if absent:
        names = " and ".join(map(str, absent))
        return Finding("folders", "ok", f"{names} will be made.")
    return Finding("folders", "ok", "The folders of a run can be written.")


def _has_environment(context: Context) -> bool:
    local = not context.engine.in_containers
    return local and backends.of(context.target).environment is not None


def _environment(context: Context) -> Finding:
    environment = backends.of(context.target).environment
    assert environment is not None
    if environment.is_installed:
        return Finding("environment", "ok", f"{environment.folder} holds {environment.lock}.")
    return Finding(
        "environment",
        "fail",
        f"{environment.folder} does not hold {environment.lock}.",
        reason="The target's runtime has an environment of its own.",
        remedy=f"`cascadeport install --target {context.name}`, or cascadeport doctor --fix.",
    )


def _install(context: Context) -> str:
    environment = backends.of(context.target).environment
    assert environment is not None
    environment.install(context.reporter)
    return f"installed {environment.lock} into {environment.folder}"


def _existing_parent(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    while not path.exists():
        path = path.parent
    return path


CHECKS = (
    Check("python", lambda context: True, _python),
    Check("disk", lambda context: True, _disk),
)
# A run says these itself.
OWN = (
    Check("folders", lambda context: True, _folders),
    Check("environment", _has_environment, _environment, repair=_install),
)
