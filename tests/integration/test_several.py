"""`TARGETS="…" make all`: a failing target stops no other, and one Ctrl-C ends all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.helpers import small_world


def start(repository: Path, tmp_path: Path, names: str, *more: str) -> subprocess.Popen[str]:
    small_world.card(tmp_path)
    small_world.dataset(tmp_path / "data")
    path = os.pathsep.join([str(repository / "scripts"), str(repository)])
    command = [sys.executable, "-m", "cascadeport", "all", "--targets", names]
    command += ["--model", str(tmp_path / "small.toml"), "--data", str(tmp_path / "data")]
    command += ["--build", str(tmp_path / "build"), "--results", str(tmp_path / "results"), *more]
    return subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_target_that_fails_stops_no_other(repository: Path, tmp_path: Path) -> None:
    """310P3 has no NPU here; the doctor refuses it, and cpu runs all the same."""
    process = start(repository, tmp_path, "310P3 cpu")
    out, told = process.communicate(timeout=180)
    assert process.returncode == 2, told
    assert "failed   310P3: exit code 2" in told
    assert "cpu      run      run small" in told
    assert out.count("# ") == 1
    assert "| CPU, onnxruntime | reference | measured |" in out
    row = json.loads((tmp_path / "results/small-data/comparison.json").read_text())["rows"][0]
    assert row["status"] == "measured"


def test_a_signal_ends_every_run(repository: Path, tmp_path: Path) -> None:
    process = start(repository, tmp_path, "cpu", "--repeats", "100000")
    assert process.stderr is not None
    for line in process.stderr:
        if "run small" in line:
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cascadeport: stopped by Ctrl-C; finished stages are kept" in told
    deadline = time.monotonic() + 30
    mark = str(tmp_path / "results").encode()
    while time.monotonic() < deadline and _running(mark):
        time.sleep(0.1)
    assert not _running(mark)


def _running(mark: bytes) -> list[str]:
    """Processes with a path of this test on their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:
            continue
    return found
