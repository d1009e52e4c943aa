"""The command line as a user's shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cascadeport.base.errors import ExitCode
from cascadeport.base.paths import REPOSITORY

ENV = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY / "scripts"), str(REPOSITORY)])}

FINISHED = (ExitCode.OK, ExitCode.FAILED, ExitCode.UNDECIDED)
"""How a run with a valid result ends. A handful of pictures need not decide the gate."""


def line(build: Path, results: Path, *words: str) -> list[str]:
    """`cascadeport all` with one timed pass, and places of its own."""
    command = [sys.executable, "-m", "cascadeport", "all", "--repeats", "1"]
    return [*command, "--build", str(build), "--results", str(results), *words]


def run(build: Path, results: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    return subprocess.run(
        line(build, results, *words),
        env={**os.environ, **ENV, **env},
        capture_output=True,
        text=True,
        check=False,
    )
