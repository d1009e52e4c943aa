"""A card whose network takes bytes: the whole pipeline, on the demo's own pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import real_world


def run(repository: Path, tmp_path: Path, *more: str) -> dict[str, Any]:
    path = os.pathsep.join([str(repository / "scripts"), str(repository)])
    command = [sys.executable, "-m", "cascadeport", "all", "--limit", "20", "--repeats", "1"]
    command += ["--build", str(tmp_path / "build"), "--results", str(tmp_path / "results")]
    done = subprocess.run(
        [*command, "--data", "demo", *more],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "results").glob(f"{Path(more[1]).stem}-*")
    rows = json.loads((folder / "comparison.json").read_text())["rows"]
    row: dict[str, Any] = rows[0]
    return row


def test_bytes_are_normalised_inside_and_find_the_same(repository: Path, tmp_path: Path) -> None:
    card = real_world.demo_card(tmp_path / "bytes.toml", dtype="uint8")
    bytes_ = run(repository, tmp_path, "--model", str(card))
    plain = run(repository, tmp_path, "--model", "demo")
    assert bytes_["status"] == plain["status"] == "measured"
    # Padding is the rounded mean instead of 0, which is all that differs.
    assert bytes_["map"] == pytest.approx(plain["map"], abs=0.01)
    assert [one for one in bytes_["semantics"] if "normalised inside the network" in one]
    assert plain["semantics"] == []
