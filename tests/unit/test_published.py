"""Published figures: what cards say, what they are comparable with, what speeds are divided by."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport.pipeline.planner import plan
from cascadeport.results import comparison, published
from cascadeport.results.published import PublishedFigures

from tests.helpers import finished, small_world
from tests.helpers.contexts import context


def figures(**options: object) -> list[PublishedFigures]:
    opened = context(**options)
    return published.figures(plan(opened), opened)


def test_the_r101s_publications_are_all_there_with_their_sources() -> None:
    found = figures(model="cascade_r101_dcn")
    assert [(row.title, row.map, row.device_ips) for row in found] == [
        ("published accuracy", 0.45, None),
        ("Ascend 310, published 2022-09", 0.452, 2.693644),
        ("Ascend 310, published 2022-03", 0.452, 2.64),
        ("Ascend 310, published 2022-12", 0.45, 2.6),
        ("Ascend 310P3, published 2022-09", 0.452, 3.703812),
        ("Ascend 310P3, published 2022-12", 0.45, 3.8),
        ("NVIDIA T4, published 2022-09", None, 3.9714058),
        ("a GPU, PyTorch, published 2022-03", None, 4.06),
        ("Ascend 310B1, published 2023-08", None, 0.853),
    ]
    assert found[1].chip_ips == 0.673411
    assert found[1].device_ips == pytest.approx(4 * 0.673411)
    for row in found[1:]:
        assert "Ascend/ModelZoo-PyTorch" in row.source
        assert "README.md at " in row.source
    assert all(row.comparable for row in found)


def test_they_are_of_a_whole_data_set_and_of_no_other(tmp_path: Path) -> None:
    assert not any(row.comparable for row in figures(model="cascade_r101_dcn", limit=20))
    data = small_world.dataset(tmp_path / "pictures")
    assert not any(row.comparable for row in figures(model="cascade_r101_dcn", data=str(data)))
    # The demo's detections are compared on whatever part of its pictures ran.
    (demo,) = figures(model="demo", limit=20)
    assert demo.detections is not None
    assert not demo.comparable
    (demo,) = figures(model="demo", data=str(data))
    assert demo.detections is None


def test_a_card_of_ones_own_brings_its_rows(tmp_path: Path) -> None:
    card = small_world.card(tmp_path)
    more = """
[reference]
map = 0.5
source = "a paper"
data = "pictures"
[[published]]
target = "T4"
title = "T4, fast"
data = "pictures"
map = 0.4
device_ips = 100
source = "a blog"
"""
    card.write_text(card.read_text() + more)
    data = small_world.dataset(tmp_path / "pictures")
    first, second = figures(model=str(card), data=str(data))
    assert (first.map, first.comparable, first.source) == (0.5, True, "a paper")
    assert (second.target, second.title) == ("T4", "T4, fast, published")
    assert (second.map, second.device_ips, second.comparable) == (0.4, 100.0, True)


def test_measured_speeds_are_divided_by_the_first_publication_of_their_target(
    tmp_path: Path,
) -> None:
    boxes = finished.dataset(tmp_path / "boxes")
    folder = tmp_path / "results"
    finished.finish(folder, boxes)
    finished.finish(folder, boxes, target="T4", title="NVIDIA T4", milliseconds=200.0)
    finished.finish(folder, boxes, target="310", title="Ascend 310", simulated=True)
    known = finished.known(folder, boxes)
    found = comparison.collect(folder, known)
    rows = [
        PublishedFigures("T4", "the accuracy alone", "x", map=0.4),
        PublishedFigures("T4", "T4, published 2022-09", "x", device_ips=4.0),
        PublishedFigures("T4", "T4, published 2022-12", "x", device_ips=5.0),
        PublishedFigures("310", "310, published", "x", device_ips=2.7),
    ]
    table = comparison.compare(found, rows)
    ratios = {row.target: row.published_ratio for row in table.rows if row.status != "published"}
    assert ratios == {"cpu": None, "T4": pytest.approx(5.0 / 4.0), "310": None}
