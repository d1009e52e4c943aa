"""Runs of the command line that have an export in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.command import FINISHED

LIMIT = 8


@dataclass
class World:
    """Folders of their own, and a card whose only source is the demo's checkpoint."""

    root: Path
    repository: Path
    environment: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Path:
        return self.repository / "models" / "demo" / "demo.pth"

    def card(self, name: str, source: str, **changes: str) -> Path:
        """A copy of the demo's card without its graph; `source` is its [checkpoint]."""
        text = (self.repository / "models" / "demo.toml").read_text()
        text = text[: text.index("[graph]")] + f"[checkpoint]\n{source}\n"
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path = self.root / f"{name}.toml"
        path.write_text(text)
        return path

    def run(self, *words: str | Path, command: str = "all") -> subprocess.CompletedProcess[str]:
        places = ["--build", self.root / "build", "--results", self.root / "results"]
        data = ["--data", "demo", "--limit", LIMIT, "--repeats", 1]
        path = os.pathsep.join([str(self.repository / "scripts"), str(self.repository)])
        done = subprocess.run(
            [sys.executable, "-m", "cascadeport", command, *map(str, [*places, *data, *words])],
            env={
                **os.environ,
                "PYTHONPATH": path,
                "CASCADEPORT_EXPORT_ENV": str(self.environment),
                **self.env,
            },
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    def passes(self, *words: str | Path) -> str:
        done = self.run(*words)
        assert done.returncode in FINISHED, done.stderr
        return done.stderr

    def fails(self, code: int, *words: str | Path) -> str:
        done = self.run(*words)
        assert done.returncode == code, done.stderr
        assert "next:" in done.stderr, done.stderr
        return done.stderr

    def results(self, name: str) -> Path:
        return self.root / "results" / f"{name}-demo-first{LIMIT}"

    def row(self, name: str) -> dict[str, Any]:
        content = json.loads((self.results(name) / "comparison.json").read_text())
        row: dict[str, Any] = content["rows"][0]
        return row

    def detections(self, name: str, row: str = "cpu") -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Per picture: x0, y0, x1, y1 and score in its pixels, and category ids."""
        rows: dict[int, list[list[float]]] = defaultdict(list)
        file = self.results(name) / row / "infer" / "detections.json"
        for each in json.loads(file.read_text()):
            x, y, width, height = each["bbox"]
            rows[each["image_id"]].append(
                [x, y, x + width, y + height, each["score"], each["category_id"]]
            )
        arrays = {picture: np.array(found) for picture, found in rows.items()}
        return {picture: (each[:, :5], each[:, 5]) for picture, each in arrays.items()}
