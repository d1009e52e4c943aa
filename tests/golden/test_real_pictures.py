"""Real detectors on real pictures, from the card to the table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import command, real_world


def run(folder: Path, *more: str) -> dict[str, Any]:
    """The first row of the comparison that `cascadeport all` writes into `folder`."""
    done = command.run(folder / "build", folder / "results", *more)
    assert done.returncode in command.FINISHED, done.stderr
    (comparison,) = (folder / "results").glob("*/comparison.json")
    row: dict[str, Any] = json.loads(comparison.read_text(encoding="utf-8"))["rows"][0]
    return row


def test_somebody_elses_detector_on_coco(shared: Path, tmp_path: Path) -> None:
    """AP 0.3274 and AP50 0.4972 were measured with pycocotools on the detector's own code."""
    card = real_world.nanodet(shared, tmp_path)
    row = run(tmp_path, "--model", str(card), "--data", str(shared / "coco26"))
    assert row["status"] == "measured"
    assert row["map"] == pytest.approx(0.327, abs=0.003)
    assert row["map50"] == pytest.approx(0.497, abs=0.003)
    assert row["pictures"] == 26


def test_the_demo_on_its_held_out_pictures(tmp_path: Path) -> None:
    """The committed model, the drawn pictures: at least what docs/demo.md promises."""
    row = run(tmp_path)
    assert row["status"] == "measured"
    assert row["pictures"] == 200
    assert row["map"] >= 0.60
