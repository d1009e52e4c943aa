"""kill -9 at random moments of a run: afterwards the same command ends in the same table.

Only the orchestrator is killed, as the kernel would do when memory runs out: its child has to
notice by itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers import small_world

REPOSITORY = Path(__file__).resolve().parents[2]
# What differs from run to run.
_MEASURED = ("chip_ips", "device_ips", "end_to_end_ips", "latency_ms")
# At most so often is one run killed before it may finish.
_TIMES = 3


@dataclass
class World:
    """A small card, its pictures, and folders of their own."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> World:
        """Makes one in an empty folder."""
        small_world.card(root)
        small_world.dataset(root / "data", count=40)
        return cls(root)

    def start(self) -> subprocess.Popen[str]:
        """`make all`, without make."""
        path = os.pathsep.join((str(REPOSITORY / "scripts"), str(REPOSITORY)))
        places = ["--build", str(self.root / "build"), "--results", str(self.root / "results")]
        what = ["--model", str(self.root / "small.toml"), "--data", str(self.root / "data")]
        return subprocess.Popen(
            [sys.executable, "-m", "cascadeport", "all", *what, *places, "--repeats", "1"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def clear(self) -> None:
        """Removes what runs made."""
        for name in ("build", "results"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def finish(self) -> tuple[dict[str, Any], bytes]:
        """Runs to the end.

        Returns:
            The table without its times, and the detections.

        Raises:
            AssertionError: The run failed, or left something that is not finished.
        """
        process = self.start()
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert "Traceback" not in said, said
        (folder,) = (self.root / "results").iterdir()
        left = [path.name for path in folder.rglob(".*") if ".tmp-" in path.name]
        assert not left, f"left behind: {left}"
        table = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
        for row in table["rows"]:
            for key in _MEASURED:
                assert row.pop(key), f"no {key}"
            # How busy the machine was meanwhile is another matter every time.
            row.pop("remarks")
        return table, (folder / "cpu" / "infer" / "detections.json").read_bytes()


def kill(world: World, draw: random.Random, seconds: float) -> list[float]:
    """Runs from nothing, and kills it once or a few times within `seconds`; the moments."""
    world.clear()
    moments = []
    for _ in range(draw.randint(1, _TIMES)):
        moment = draw.uniform(0, seconds)
        moments.append(round(moment, 3))
        process = world.start()
        try:
            process.communicate(timeout=moment)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    return moments


def run(root: Path, seed: int, rounds: int | None, seconds: float | None = None) -> int:
    """Kills runs until `rounds` or `seconds` are over, one at least; how many rounds there were.

    Raises:
        AssertionError: A table was another afterwards; with the moments of the kills.
    """
    world = World.make(root)
    end = None if seconds is None else time.monotonic() + seconds
    began = time.monotonic()
    honest = world.finish()
    length = time.monotonic() - began
    done = 0
    # However little time there is, one run is killed.
    while done != rounds and (done == 0 or end is None or time.monotonic() < end):
        moments = kill(world, random.Random(f"kills-{seed}-{done}"), length)
        found = world.finish()
        assert found == honest, f"after kills at {moments} s of {length:.1f} s: {found[0]}"
        done += 1
    return done
