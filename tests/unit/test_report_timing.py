"""The report's lines about time and conditions."""

from __future__ import annotations

import pytest
from cascadeport import datasets
from cascadeport.report import timing
from cascadeport.results.result import Result

from tests.helpers import finished

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("timing")
    boxes: datasets.Dataset = finished.dataset(folder / "data")
    return finished.finish(folder, boxes)


def with_environment(result: Result, **more: object) -> Result:
    environment = {**result.run.environment, **more}
    run = result.run.model_copy(update={"environment": environment})
    return result.model_copy(update={"run": run})


def test_nodes_are_counted_where_they_ran(result: Result) -> None:
    placed = {CUDA: {"nodes": 90, "ms": 9.0}, CPU: {"nodes": 10, "ms": 1.0}}
    found = timing.nodes(with_environment(result, provider=CUDA, nodes=placed))
    assert found == "90 of 100, 90.0% of the time of the first picture"
    nowhere = timing.nodes(with_environment(result, provider=CUDA, nodes={CPU: placed[CPU]}))
    assert nowhere == "0 of 10, 0.0% of the time of the first picture"


@pytest.mark.parametrize("nodes", [None, {}, "x", {CPU: 3}, {CPU: {"nodes": "a"}}])
def test_nodes_that_nobody_counted_are_a_dash(result: Result, nodes: object) -> None:
    assert timing.nodes(with_environment(result, provider=CPU, nodes=nodes)) == "–"


def test_lines_without_any_value_are_left_out(result: Result) -> None:
    names = [name for name, _ in timing.lines([result])]
    assert "bound by" in names
    assert "device img/s of each pass" in names
    # One chip, no power, nothing to compare with.
    for absent in ("img/s of one chip, each pass", "img/s per watt above idle"):
        assert absent not in names


def test_speeds_are_compared_with_the_first_row(result: Result) -> None:
    lines = dict(timing.lines([result, result.model_copy(update={"title": "again"})]))
    first, second = lines["device img/s against the first row"]
    assert first == "–"
    assert second


def test_conditions_are_said(result: Result) -> None:
    lines = dict(timing.conditions([result]))
    assert lines["cores that the pass could use"] == ["2"]
    assert "cores that others kept busy" in lines
    assert "devices" not in lines
