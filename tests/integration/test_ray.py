"""examples/ray/detect.py on a cluster of several nodes' processes finds what infer finds.

The environment is one of its own: scripts/make-ray.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from cascadeport.base.paths import REPOSITORY

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder

PYTHON = REPOSITORY / ".venv-ray" / "bin" / "python"
EXAMPLE = REPOSITORY / "examples" / "ray" / "detect.py"
CLUSTER = REPOSITORY / "tests" / "helpers" / "ray_cluster.py"
NODES = 3


def environment(**more: str) -> dict[str, str]:
    """The environment of Ray's processes: the bundle can be imported, and nothing is reported."""
    return {
        **jobs.environment(),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "HOME": os.environ.get("HOME", "/tmp"),
        **more,
    }


@dataclass(frozen=True)
class Running:
    """A cluster: its address, and the process that started its nodes."""

    address: str
    process: psutil.Process

    def actors(self) -> list[psutil.Process]:
        """The processes of the example's actors."""
        found = []
        for one in self.process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "MapBatches(Detect)" in " ".join(one.cmdline()):
                    found.append(one)
        return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Running]:
    """Three nodes."""
    if not (PYTHON.parent.parent / "ready").exists():
        pytest.skip("Ray is not installed; scripts/make-ray installs it")
    process = subprocess.Popen(
        [str(PYTHON), str(CLUSTER), str(NODES)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        found = process.stdout.readline().strip()
        assert found, "the cluster did not start"
        yield Running(found, psutil.Process(process.pid))
    finally:
        process.stdin.close()
        process.wait(60)


def detect(address: str, *words: object) -> dict[str, dict[str, Any]]:
    """Runs the example; returns what it found, by the picture's name."""
    done = subprocess.run(
        [str(PYTHON), str(EXAMPLE), *map(str, words)],
        env=environment(RAY_ADDRESS=address),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    out = Path(str(words[2]))
    rows = [json.loads(line) for path in out.iterdir() for line in path.read_text().splitlines()]
    found = {Path(row["path"]).name: json.loads(row["found"]) for row in rows}
    assert len(found) == len(rows)
    return found


def prepared(folder: Path, count: int) -> tuple[Path, Path]:
    """A frozen folder, and a folder of so many pictures."""
    frozen = frozen_folder.small(folder)
    pictures = folder / "in"
    pictures.mkdir()
    for number in range(count):
        shutil.copy(folder / "pictures" / f"{number % 5}.png", pictures / f"{number:04}.png")
    return frozen, pictures


def test_every_node_s_actor_finds_what_infer_finds(cluster: Running, tmp_path: Path) -> None:
    # Each node has one NPU, so each of the three actors is on another node.
    frozen, pictures = prepared(tmp_path, 40)
    (pictures / "0017.png").write_bytes(b"no picture")
    found = detect(cluster.address, frozen, pictures, tmp_path / "out", NODES, "NPU")

    assert frozen_folder.call(frozen, "infer", pictures, tmp_path / "whole").returncode == 1
    lines = (tmp_path / "whole" / "detections.jsonl").read_text().splitlines()
    for line in map(json.loads, lines):
        one = found.pop(line["file"])
        if "skipped" in line:
            assert one == {"skipped": line["skipped"].splitlines()[0]}
        else:
            assert one == {key: line[key] for key in ("width", "height", "sha256", "detections")}
    assert not found


def test_an_actor_that_dies_loses_nothing(cluster: Running, tmp_path: Path) -> None:
    frozen, pictures = prepared(tmp_path, 400)
    killed = []

    def kill() -> None:
        while not killed:
            for actor in cluster.actors()[:1]:
                with contextlib.suppress(psutil.Error):
                    actor.kill()
                    killed.append(actor.pid)
            time.sleep(0.1)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        found = detect(cluster.address, frozen, pictures, tmp_path / "out", NODES, "CPU")
    finally:
        killed.append(0)
        thread.join()
    assert killed[0]
    assert sorted(found) == [f"{number:04}.png" for number in range(400)]
    assert all(one["detections"] for one in found.values())
