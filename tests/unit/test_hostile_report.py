"""The report's policy: the one script of the page runs, by its digest, and no other."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from cascadeport import report
from cascadeport.base.errors import CascadeportError
from cascadeport.report import view
from cascadeport.results import comparison

from tests.helpers import finished


def test_the_policy_names_the_script_by_its_digest(tmp_path: Path) -> None:
    boxes = finished.dataset(tmp_path / "data", 5)
    results = [finished.finish(tmp_path / "results", boxes)]
    known = finished.known(tmp_path / "results", boxes)
    table = comparison.compare(comparison.collect(tmp_path / "results", known))
    path = tmp_path / "comparison.html"
    report.render(results, table, path, boxes)
    text = path.read_bytes().decode()
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    assert "addEventListener" in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"


@pytest.mark.parametrize("content", [b"pass,device_ms\n1,soon\n", b"pass,device_ms\n1,\xff\n"])
def test_times_that_are_none(tmp_path: Path, content: bytes) -> None:
    result = finished.finish(tmp_path / "results", finished.dataset(tmp_path / "data", 5))
    path = result.file("times")
    assert path is not None
    path.write_bytes(content)
    with pytest.raises(CascadeportError, match="times of CPU, onnxruntime cannot be read"):
        view.histograms([result])
