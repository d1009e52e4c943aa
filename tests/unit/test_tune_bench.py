"""What a point's row says against the reference's: finished rows, computed."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport.datasets import Dataset
from cascadeport.tune import bench

from tests.helpers import finished


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"), pictures=40)


def test_a_row_is_compared_on_the_same_pictures(tmp_path: Path, boxes: Dataset) -> None:
    reference = finished.finish(tmp_path, boxes, target="cpu", seed=1, spread=1)
    worse = finished.finish(tmp_path, boxes, target="T4", seed=1, spread=12)
    found = bench.measured(worse, boxes, reference, "T4")
    assert found.pictures == 40
    assert reference.map is not None
    assert worse.map is not None
    assert found.delta == pytest.approx(worse.map - reference.map)
    assert found.difference is not None
    assert found.difference.high < -0.05
    assert found.verdict(0.5)[0] == "beyond"
    assert found.verdict(100)[0] == "within"


def test_the_same_detections_differ_by_nothing(tmp_path: Path, boxes: Dataset) -> None:
    reference = finished.finish(tmp_path, boxes, target="cpu", milliseconds=20.0)
    faster = finished.finish(tmp_path, boxes, target="T4", milliseconds=10.0)
    found = bench.measured(faster, boxes, reference, "T4")
    assert found.change == "exactly the reference's accuracy"
    assert found.verdict(0.5)[0] == "within"
    assert found.speed is not None
    assert found.speed.ratio > 1
    assert found.ips is not None


def test_a_simulated_row_has_an_accuracy_and_no_speed(tmp_path: Path, boxes: Dataset) -> None:
    reference = finished.finish(tmp_path, boxes, target="cpu")
    simulated = finished.finish(tmp_path, boxes, target="310P3", simulated=True)
    found = bench.measured(simulated, boxes, reference, "310P3")
    assert found.simulated
    assert found.map is not None
    assert (found.ips, found.device_ips, found.end_to_end_ips, found.speed) == (None,) * 4
    assert not found.is_faster
    assert not found.is_slower
    # Nor is anything compared with the times of a stand-in.
    assert bench.measured(reference, boxes, simulated, "cpu").speed is None
