"""Changes of meaning are chosen on the command line, act, and reach the comparison table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import command, small_world


def detections(folder: Path) -> Any:
    return json.loads((folder / "infer" / "detections.json").read_text())


def test_chosen_semantics_stand_beside_the_targets_own(tmp_path: Path) -> None:
    demo = ("--limit", "6")
    chosen = ("--proposals", "20", "--nms-levels", "across", "--nms-precision", "float16")
    for more in ((), chosen, ("--nms-levels", "within", "--nms-precision", "float32")):
        done = command.run(tmp_path / "build", tmp_path / "results", *demo, *more)
        assert done.returncode in command.FINISHED, done.stderr
    folder = tmp_path / "results" / "demo-demo-first6"
    rows = json.loads((folder / "comparison.json").read_text())["rows"]
    rows = [row for row in rows if row["status"] != "published"]
    own, faithful, changed = rows
    assert own["target"] == "cpu"
    assert own["semantics"] == faithful["semantics"] == []
    assert changed["target"] == "cpu-proposals20-levels-across-nms-float16"
    assert (
        changed["title"]
        == "CPU, onnxruntime (20 proposals, proposals across levels, NMS in float16)"
    )
    assert [row["status"] for row in rows] == ["measured"] * 3
    told = " | ".join(changed["semantics"])
    assert "20 proposals instead of " in told
    assert "across pyramid levels" in told
    assert "NMS in float16" in told
    assert "20 proposals instead of " in (folder / "comparison.md").read_text()
    assert detections(folder / own["target"]) == detections(folder / faithful["target"])
    assert detections(folder / own["target"]) != detections(folder / changed["target"])


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--proposals", "0"), "--proposals must be at least 1, not 0."),
        (("--proposals", "9"), "is ready as it is; its meaning cannot be changed"),
    ],
)
def test_what_cannot_be_chosen_is_refused(tmp_path: Path, more: tuple[str, ...], told: str) -> None:
    small_world.dataset(tmp_path / "data")
    small_world.card(tmp_path)
    where = ("--model", str(tmp_path / "small.toml"), "--data", str(tmp_path / "data"))
    done = command.run(tmp_path / "build", tmp_path / "results", *where, *more)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
