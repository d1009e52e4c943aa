"""A podman of our own: its images and containers are in one folder, and go with it.

The settings are what a machine without systemd and with a hybrid cgroup hierarchy needs; they
change where podman keeps things and which runtime it uses, not what it is asked to do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CONF = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


def missing() -> str:
    """Why there is none; empty when there is one."""
    if os.geteuid() != 0:
        return "this test's podman needs root"
    for program in ("podman", "runc"):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install podman runc)"
    return ""


@dataclass(frozen=True)
class Podman:
    """A podman.

    Args:
        program: What to call in the place of `podman`.
    """

    program: Path

    def __call__(self, *words: str) -> str:
        """Runs it; returns what it prints."""
        done = subprocess.run(
            [str(self.program), *words], capture_output=True, text=True, check=True
        )
        return done.stdout


@contextlib.contextmanager
def private() -> Iterator[Podman]:
    """A podman for the length of a block."""
    folder = Path(tempfile.mkdtemp(prefix="cpp-"))
    conf, program = folder / "containers.conf", folder / "podman"
    conf.write_text(_CONF)
    program.write_text(
        f"#!/bin/sh\nCONTAINERS_CONF={conf} exec {shutil.which('podman')} --root {folder}/root "
        f'--runroot {folder}/run --tmpdir {folder}/tmp "$@"\n'
    )
    program.chmod(0o755)
    try:
        yield Podman(program)
    finally:
        subprocess.run([str(program), "rm", "--all", "--force"], check=False, capture_output=True)
        for point in (folder / "root" / "overlay", folder / "root"):
            subprocess.run(["umount", "-l", str(point)], check=False, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)
