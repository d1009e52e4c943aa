"""The command line as a user's shell runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from cascadeport.options import REPOSITORY

ENV = {"PYTHONPATH": os.pathsep.join([str(REPOSITORY / "scripts"), str(REPOSITORY)])}


def line(folder: Path, *words: str, build: Path | None = None) -> list[str]:
    """`cascadeport all`, one timed pass, with `build` and `results` below a folder of its own."""
    command = [sys.executable, "-m", "cascadeport", "all", "--repeats", "1"]
    places = ["--build", str(build or folder / "build"), "--results", str(folder / "results")]
    return [*command, *places, *words]


def run(
    folder: Path, *words: str, build: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    return subprocess.run(
        line(folder, *words, build=build),
        env={**os.environ, **ENV, **env},
        capture_output=True,
        text=True,
        check=False,
    )
