"""The search space: what each target can vary, and the options that run a point."""

from __future__ import annotations

from typing import Any

import pytest
from cascadeport import backends
from cascadeport.config import targets
from cascadeport.config.options import Options, of
from cascadeport.datasets import Item, parts
from cascadeport.graph.onnx_session import has_deform_conv
from cascadeport.pipeline.planner import plan
from cascadeport.tune import bench
from cascadeport.tune.space import AXES, NAMED, Facts, Point, axes

from tests.helpers import contexts


def facts(**changes: Any) -> Facts:
    known: dict[str, Any] = {
        "proposals": 1000,
        "edges": (1216, 1216),
        "cores": 8,
        "levels": "within",
        "options": Options(),
        "offered": {"proposals": (), "nms_levels": ("within", "across"), "threads": ()},
    }
    return Facts(**{**known, **changes})


def values(option: str, found: Facts, *, ready: bool = False) -> list[Any]:
    listed = {axis.option: list(values) for axis, values, _ in axes(found, ready=ready)}
    return listed[option]


def test_every_axis_is_an_option() -> None:
    known = {option.field for option in of(Options)}
    assert {axis.option for axis in AXES} <= known


def test_every_backend_names_axes_that_there_are() -> None:
    rows = targets.load(Options().targets, backends.row)
    for name, row in rows.items():
        offered = backends.of(row).varies(Options(target=name))
        assert set(offered) <= set(NAMED), name
        assert {"proposals", "nms_levels"} <= set(offered), name


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (1000, [500, 300, 200, 100, 50]),
        (300, [150, 90, 60, 30, 15]),
        (2, [1]),
        (1, []),
        (None, []),
    ],
)
def test_proposals_are_shares_of_the_reference(kept: int | None, expected: list[int]) -> None:
    assert values("proposals", facts(proposals=kept)) == expected


def test_values_are_others_than_the_reference() -> None:
    assert values("nms_levels", facts()) == ["across"]
    assert values("nms_levels", facts(levels="across")) == ["within"]
    assert values("threads", facts()) == [4, 2]
    assert values("threads", facts(options=Options(threads=2))) == [1]
    assert values("threads", facts(cores=1)) == []


def test_edges_are_multiples_of_the_pyramid() -> None:
    offered = {"resize": ()}
    assert values("resize", facts(offered=offered)) == ["1088", "960", "832", "608"]
    small = facts(offered=offered, edges=(256, 256))
    assert values("resize", small) == ["224", "192", "160", "128"]
    both = facts(offered=offered, edges=(1333, 800))
    assert values("resize", both) == ["1184x704", "1056x640", "928x544", "640x384"]


def test_a_ready_graph_keeps_its_meaning() -> None:
    for axis, found, reason in axes(facts(), ready=True):
        if axis.of_graph:
            assert not found
            assert "ready" in reason
        else:
            assert found


def test_a_point_runs_by_the_users_options_and_its_changes() -> None:
    rows = targets.load(Options().targets, backends.row)
    options = Options(target="cpu", simulate=True, repeats=7)
    point = Point("cpu").having("proposals", 100).having("threads", 2)
    made = bench.own(options, point, rows)
    assert (made.proposals, made.threads, made.repeats) == (100, 2, 7)
    # Only an Ascend target has a stand-in.
    assert made.simulate is False
    assert bench.own(options, Point("310P3"), rows).simulate is True


def test_the_order_of_changes_does_not_make_another_point() -> None:
    one = Point("cpu").having("proposals", 100).having("threads", 2)
    other = Point("cpu").having("threads", 2).having("proposals", 100)
    assert one == other
    assert one.titled("cpu") == "threads 2, proposals 100"
    assert one.titled("openvino") == "cpu, threads 2, proposals 100"
    assert Point("cpu").titled("cpu") == "the reference"


@pytest.mark.parametrize(
    ("count", "expected"),
    [(13, [13]), (99, [99]), (100, [50, 100]), (2500, [625, 1250, 2500]), (250, [62, 125, 250])],
)
def test_steps_have_enough_pictures_to_say_something(count: int, expected: list[int]) -> None:
    assert bench.steps(count) == expected


def test_halves_depend_on_ids_alone() -> None:
    items = [Item(number, f"{number}.jpg", 10, 10) for number in range(1, 202)]
    searched, held_out = parts.of(items, parts.SEARCH), parts.of(items, parts.HELD_OUT)
    assert (len(searched), len(held_out)) == parts.sizes(201) == (100, 101)
    assert {one.id for one in (*searched, *held_out)} == set(range(1, 202))
    assert parts.of(items[::-1], parts.SEARCH) == searched
    # Neither half is that of the first ids.
    low = sum(one.id <= 100 for one in searched)
    assert 30 < low < 70


@pytest.mark.skipif(not has_deform_conv(), reason="int8 needs an onnxruntime with DeformConv")
def test_a_pass_of_several_streams_takes_the_same_int8_network() -> None:
    """The search combines the two; how a pass is run is no part of the network."""
    keys = set()
    for streams in (None, 2):
        context = contexts.context(precision="int8", streams=streams, threads=2)
        keys.add(plan(context).stage("quantise").key)
    assert len(keys) == 1
