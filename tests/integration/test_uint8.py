"""A card whose network takes bytes: the whole pipeline, on the demo's own pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import command, real_world


def run(folder: Path, model: str) -> dict[str, Any]:
    done = command.run(
        folder / "build", folder / "results", "--model", model, "--data", "demo", "--limit", "20"
    )
    assert done.returncode in command.FINISHED, done.stderr
    (comparison,) = (folder / "results").glob(f"{Path(model).stem}-*/comparison.json")
    row: dict[str, Any] = json.loads(comparison.read_text())["rows"][0]
    return row


def test_bytes_are_normalised_inside_and_find_the_same(tmp_path: Path) -> None:
    card = real_world.demo_card(tmp_path / "bytes.toml", dtype="uint8")
    bytes_ = run(tmp_path, str(card))
    plain = run(tmp_path, "demo")
    assert bytes_["status"] == plain["status"] == "measured"
    # Padding is the rounded mean instead of 0, which is all that differs.
    assert bytes_["map"] == pytest.approx(plain["map"], abs=0.01)
    assert [one for one in bytes_["semantics"] if "normalised inside the network" in one]
    assert plain["semantics"] == []
