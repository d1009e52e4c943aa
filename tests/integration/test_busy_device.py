"""A run that was not alone on its device is INVALID in the table, and says why."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from cascadeport.backends.onnxruntime.backend import OnnxRuntime
from cascadeport.base.errors import ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.commands.run import run
from cascadeport.config.options import Options
from cascadeport.core.check import Check, idle

from tests.helpers import small_world


def test_a_busy_device_makes_the_result_invalid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = Check("idle", lambda context: True, lambda context: idle(["somebody (4711)"]), True)
    monkeypatch.setattr(OnnxRuntime, "checks", (*OnnxRuntime.checks, busy))
    small_world.card(tmp_path)
    small_world.dataset(tmp_path / "data")
    options = Options(
        model=str(tmp_path / "small.toml"),
        data=str(tmp_path / "data"),
        build=tmp_path / "build",
        results=tmp_path / "results",
        repeats=1,
    )
    stream = io.StringIO()
    assert run(options, Reporter(stream)) == ExitCode.INVALID
    assert "somebody (4711). The result will be INVALID." in stream.getvalue()
    comparison = tmp_path / "results" / "small-data" / "comparison.json"
    row = json.loads(comparison.read_text())["rows"][0]
    assert row["status"] == "invalid"
    assert row["reason"] == "not alone on the device: Others use the device: somebody (4711)"
    run_record = comparison.parent / "cpu" / "infer" / "run.json"
    assert json.loads(run_record.read_text())["environment"]["load_before_pass"] >= 0
