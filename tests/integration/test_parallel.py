"""Several pictures at once, from the command line to the table: the same detections, other rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cascadeport import backends

from tests.helpers import command, contexts, real_world

FILES = ("detections.json", "geometry.jsonl", "pictures.jsonl")


def run(folder: Path, row: str, *words: str) -> dict[str, Any]:
    """A row's result, after a run."""
    done = command.run(folder / "build", folder / "results", *words)
    assert done.returncode in command.FINISHED, done.stdout + done.stderr
    (result,) = (folder / "results").glob(f"*/{row}/result.json")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    found["bytes"] = [(result.parent / "infer" / name).read_bytes() for name in FILES]
    return found


def test_the_demo_in_batches_and_streams(tmp_path: Path) -> None:
    """13 pictures: the last batch is filled up."""
    rows = {
        "cpu": (),
        "cpu-batch-2": ("--batch", "2"),
        "cpu-streams-2": ("--streams", "2", "--threads", "2"),
        "cpu-streams-auto-batch-4": ("--streams", "auto", "--batch", "4"),
    }
    found = {}
    for name, words in rows.items():
        row = name if "--threads" not in words else "cpu-*streams-2"
        found[name] = run(tmp_path, row, "--limit", "13", *words)
    for name, result in found.items():
        assert result["status"] == "measured", result["reason"]
        assert result["bytes"] == found["cpu"]["bytes"], name
        assert result["device_ips"] >= 0.97 * result["end_to_end_ips"]
    batch = found["cpu-batch-2"]
    assert batch["run"]["environment"]["padded"] == 1
    proof = batch["run"]["companions"]
    assert {name: one["pictures"] for name, one in proof.items()} == {"shuffled": 8, "single": 8}
    assert any("do not depend on its companions" in remark for remark in batch["remarks"])
    assert batch["settings_digest"] == found["cpu"]["settings_digest"]
    auto = found["cpu-streams-auto-batch-4"]
    assert any("fastest here by measuring" in remark for remark in auto["remarks"])


def test_a_real_detector_in_streams(shared: Path, tmp_path: Path) -> None:
    card = real_world.nanodet(shared, tmp_path)
    words = ("--model", str(card), "--data", str(shared / "coco26"))
    one, two = run(tmp_path, "cpu", *words), run(tmp_path, "cpu-streams-2", *words, "--streams=2")
    assert one["bytes"] == two["bytes"]
    assert two["status"] == "measured", two["reason"]
    assert two["latency_ms"]["n"] == two["pictures"] == 26
    done = command.run(tmp_path / "build", tmp_path / "results", *words, "--batch=2")
    assert done.returncode not in command.FINISHED
    assert "is ready as it is" in done.stderr


def test_openvino_in_batches(tmp_path: Path) -> None:
    environment = backends.of(contexts.context("openvino").target).environment
    assert environment is not None
    if not environment.is_installed:
        pytest.skip("OpenVINO is not installed; cascadeport install --target openvino installs it")
    words = ("--target", "openvino", "--limit", "9")
    one, batch = (
        run(tmp_path, "openvino", *words),
        run(tmp_path, "openvino-batch-2", *words, "--batch=2"),
    )
    assert batch["status"] == "measured", batch["reason"]
    ours, theirs = (json.loads(result["bytes"][0]) for result in (one, batch))
    assert real_world.agreement(ours, theirs) == real_world.agreement(theirs, ours) == 1.0
