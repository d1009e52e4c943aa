"""The frontier's picture, its chart for a terminal, and its record."""

from __future__ import annotations

import io
import json
import random
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.report import frontier as report
from cascadeport.tune import assemble, picture, record, scale, text
from cascadeport.tune.record import Frontier
from cascadeport.tune.space import Point
from rich.console import Console

from tests.fuzz import mutate
from tests.helpers import searching
from tests.helpers.searching import World

_SVG = "{http://www.w3.org/2000/svg}"
_VALUES = {"threads": [1], "nms_levels": ["across"], "proposals": [150, 90, 60, 30, 15]}


def frontier(world: World | None = None, **peers: object) -> Frontier:
    world = world or World(
        losses={
            ("proposals", 90): 0.1,
            ("proposals", 60): 0.4,
            ("proposals", 30): 40.0,
            ("target", "310P3"): 0.3,
        },
        gains={("proposals", 90): 1.2, ("proposals", 60): 1.3, ("threads", 1): 0.6},
        simulated=["310P3"],
        failing=[("nms_levels", "across")],
    )
    known = {"310P3": {"proposals": [250]}}
    done = searching.search(searching.space(_VALUES, peers=known), world)
    return assemble.assemble(
        done,
        model="demo",
        data="demo",
        targets=["cpu", "310P3"],
        budget=0.5,
        steps=[50, 100, 200],
        held_out=200,
        commands={point: f"make all TARGET={point.target}" for point in done.entries},
        drift=None,
        left_out=["threads on 310P3: none"],
    )


def texts(found: Frontier) -> list[ET.Element]:
    root = ET.fromstring(picture.svg(found))
    return list(root.iter(f"{_SVG}text"))


def test_every_point_with_an_accuracy_is_drawn_and_listed() -> None:
    found = frontier()
    shown = scale.drawn(found)
    root = ET.fromstring(picture.svg(found))
    marks = [one for one in root.iter() if " mark" in (one.get("class") or "")]
    legend = len({one.status for one in shown})
    assert len(marks) == len(shown) + legend
    said = [one.text for one in texts(found)]
    for one in shown:
        assert one.title in said
    assert "budget: 0.5 points" in said


def test_simulated_points_have_no_place_on_the_axis_of_speed() -> None:
    found = frontier()
    simulated = [one for one in found.points if one.simulated]
    assert simulated
    assert all(one.device_ips is None and one.speed is None for one in simulated)
    assert not any(one.on_frontier for one in simulated)
    axis = next(one for one in texts(found) if one.text == "no speed")
    root = ET.fromstring(picture.svg(found))
    start = max(
        float(one.get("x1") or 0)
        for one in root.iter(f"{_SVG}line")
        if one.get("class") == "axis"
        and one.get("x1") == one.get("x2")
        and float(one.get("y1") or 0) < 100
    )
    circles = [
        float(one.get("cx") or 0)
        for one in root.iter(f"{_SVG}circle")
        if float(one.get("cx") or 0) < start
    ]
    assert len(circles) == len(simulated)
    assert float(axis.get("x") or 0) < start


def test_numbers_beside_points_do_not_cover_each_other() -> None:
    keys = [
        one
        for one in texts(frontier())
        if "key" in (one.get("class") or "") and (one.text or "").isdigit()
    ]
    chart = [one for one in keys if float(one.get("x") or 0) < 600]
    boxes = [
        (
            float(one.get("x") or 0),
            float(one.get("y") or 0) - 10,
            float(one.get("x") or 0) + 7 * len(one.text or ""),
            float(one.get("y") or 0),
        )
        for one in chart
    ]
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1]
            assert apart or other[3] <= one[1]


def test_a_point_far_below_does_not_press_the_others_together() -> None:
    found = frontier()
    assert min(one.delta or 0.0 for one in found.points) < -0.3
    axis = scale.differences(found, scale.drawn(found))
    assert axis.low > -4


def test_a_title_cannot_become_markup() -> None:
    found = frontier()
    points = [one.model_copy(update={"title": "<script>&\x1b[2J"}) for one in found.points]
    drawn = picture.svg(found.model_copy(update={"points": points}))
    ET.fromstring(drawn)
    assert "<script>" not in drawn
    assert "\x1b" not in drawn


@pytest.mark.parametrize("width", [40, 80, 160])
def test_the_chart_fits_a_terminal(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    text._Printer(console).print(frontier())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    if width >= 80:
        assert any("img/s on the device" in line for line in lines)


def test_a_point_that_failed_on_more_pictures_is_drawn_with_what_it_gave() -> None:
    broken = Point("cpu").having("proposals", 60)
    world = World(
        losses={("proposals", 60): 0.4, ("target", "310P3"): 0.3},
        gains={("proposals", 60): 1.3},
        simulated=["310P3"],
        breaking=[broken],
    )
    found = frontier(world)
    one = next(one for one in found.points if one.title == "proposals 60")
    assert (one.status, one.reason) == ("failed", "the disk is full")
    assert one.pictures == 50
    assert found.chosen is not None
    assert found.points[found.chosen.point] is not one
    ET.fromstring(picture.svg(found))
    out = io.StringIO()
    text.write(found, out)
    assert "the disk is full" in out.getvalue()


def test_points_skipped_for_one_reason_are_one_line() -> None:
    out = io.StringIO()
    text.write(frontier(), out)
    skipped = [line for line in out.getvalue().splitlines() if "| skipped" in line]
    assert len(skipped) == 1
    assert "proposals 15" in skipped[0]


def test_a_pipe_gets_the_same_numbers() -> None:
    out = io.StringIO()
    found = frontier()
    text.write(found, out)
    printed = out.getvalue()
    assert found.chosen is not None
    assert found.chosen.command in printed
    assert "simulated, within" in printed
    assert "already loses too much" in printed
    assert "the network has no such thing" in printed
    assert "not varied: threads on 310P3: none" in printed
    assert "\x1b" not in printed


def test_a_record_is_what_was_written(tmp_path: Path) -> None:
    found = frontier()
    path = tmp_path / record.NAME
    path.write_text(json.dumps(found.model_dump(mode="json")), encoding="utf-8")
    assert record.load(path) == found
    assert {"target", "options", "map", "interval", "device_ips", "status"} <= set(
        json.loads(path.read_text(encoding="utf-8"))["points"][0]
    )


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}', '{"format": 1}', "{" * 5000])
def test_a_record_that_cannot_be_read_is_not_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / record.NAME).write_text(content, encoding="utf-8")
    with pytest.raises(CascadeportError):
        record.load(tmp_path / record.NAME)
    assert report.view(tmp_path) is None


def test_a_record_whose_rows_are_gone_is_shown_as_old(tmp_path: Path) -> None:
    folder = tmp_path / "demo-demo"
    folder.mkdir()
    values = frontier().model_dump(mode="json")
    for one in values["points"]:
        for run in one["runs"]:
            run["row"] = "../../etc"
    (folder / record.NAME).write_text(json.dumps(values), encoding="utf-8")
    found = report.view(folder)
    assert found is not None
    assert found.is_old


def test_a_record_of_any_content_is_drawn_or_left_out(tmp_path: Path) -> None:
    """Whatever somebody writes there, the report of the rows is written all the same."""
    values, draw = frontier().model_dump(mode="json"), random.Random(3)
    drawn = 0
    for _ in range(300):
        changed = mutate.value(json.loads(json.dumps(values)), draw)
        (tmp_path / record.NAME).write_text(json.dumps(changed), encoding="utf-8")
        found = report.view(tmp_path)
        if found is not None:
            drawn += 1
            text.write(found.record, io.StringIO())
    assert 20 < drawn < 290


def test_a_choice_that_is_no_point_is_not_shown(tmp_path: Path) -> None:
    values = frontier().model_dump(mode="json")
    values["chosen"]["point"] = 999
    (tmp_path / record.NAME).write_text(json.dumps(values), encoding="utf-8")
    assert report.view(tmp_path) is None


def test_sentences_say_what_was_chosen_and_what_was_not() -> None:
    found = frontier()
    assert found.sentences[0].startswith("The fastest point within the budget of 0.5 points is ")
    assert "On the 200 pictures that the search has not seen it is within" in found.sentences[1]


def test_a_search_that_found_nothing_says_so() -> None:
    slow = World(gains={("threads", 1): 0.5, ("proposals", 150): 0.9})
    done = searching.search(searching.space({"threads": [1]}), slow)
    found = assemble.assemble(
        done,
        model="demo",
        data="demo",
        targets=["cpu"],
        budget=0.5,
        steps=[50],
        held_out=50,
        commands=dict.fromkeys(done.entries, "make all"),
        drift=None,
        left_out=[],
    )
    assert found.sentences == [
        "The reference stays: no point within the budget of 0.5 points is faster beyond doubt."
    ]
    assert found.chosen is not None
    assert found.chosen.held_out is None
