"""The COCO API's own example: 100 pictures, its detections, and its 12 numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cascadeport import evaluation


def test_the_coco_apis_example(shared: Path) -> None:
    golden = shared / "golden"
    annotations = golden / "instances_val2014_100.json"
    detections = golden / "instances_val2014_fakebbox100_results.json"
    expected = json.loads((golden / "expected_fakebbox100.json").read_text())["fakebbox100"]
    images = [image["id"] for image in json.loads(annotations.read_text())["images"]]
    found = evaluation.evaluate(annotations, detections, images)
    assert list(found.stats.values()) == pytest.approx(expected, abs=1e-9)
    assert found.stats["AP"] == pytest.approx(0.504581, abs=1e-6)
    assert found.pictures == 100
