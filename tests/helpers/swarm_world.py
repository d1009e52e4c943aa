"""A target with slow devices on the workers of a swarm, and pictures for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.helpers import command, slow_device, small_world, target_images
from tests.helpers.swarm_nodes import Swarm


class World:
    """A swarm, a target with slow devices, and pictures whose detections are known.

    Args:
        root: For everything that runs write.
        swarm: Its workers have a device each.
        registry: The registry's address.
        pictures: How many.
        shards: In how many shards runs are, unless they say otherwise.
        seconds: What a device takes for a picture.
    """

    def __init__(
        self,
        root: Path,
        swarm: Swarm,
        registry: str,
        pictures: int,
        shards: int,
        seconds: float,
    ) -> None:
        self.root = root
        self.swarm = swarm
        self.registry = registry
        self.card = small_world.card(root)
        self.data = small_world.dataset(root / "data", pictures)
        self.targets = slow_device.write(root / "device", seconds)
        self.shards = shards
        self.env = {
            **os.environ,
            **target_images.environment(swarm.manager.engine, "cpu"),
            "BUILD_NETWORK": "none",
            "CASCADEPORT_LOCKS": str(root / "locks"),
            **command.ENV,
        }

    def line(self, results: str, **options: Any) -> list[str]:
        given = {
            "model": str(self.card),
            "data": str(self.data),
            "target": slow_device.NAME,
            "repeats": 1,
            "build": str(self.root / "build"),
            "results": str(self.root / results),
            "targets": str(self.targets),
            **options,
        }
        return [sys.executable, str(Path(__file__).with_name("run_options.py")),
                json.dumps(given)]  # fmt: skip

    def swarm_line(self, results: str, **options: Any) -> list[str]:
        more = {
            "engine": "swarm",
            "shards": self.shards,
            "registry": f"{self.registry}/cascadeport",
        }
        return self.line(results, **{**more, **options})

    def run(self, line: Sequence[str]) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            line, env=self.env, capture_output=True, text=True, check=False, timeout=300
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def infer(self, results: str) -> Path:
        (row,) = (self.root / results / "small-data").glob("slow-swarm-*")
        return row / "infer"
