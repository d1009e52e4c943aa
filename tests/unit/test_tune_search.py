"""The search, on points whose accuracy and speed are written down."""

from __future__ import annotations

import pytest
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.tune.search import HELD_OUT, on_frontier
from cascadeport.tune.space import Point

from tests.helpers import searching
from tests.helpers.searching import World

LADDER = {"proposals": [150, 90, 60, 30]}
FASTER = {
    ("proposals", 150): 1.1,
    ("proposals", 90): 1.2,
    ("proposals", 60): 1.3,
    ("proposals", 30): 1.4,
}


def point(target: str = "cpu", **changes: object) -> Point:
    found = Point(target)
    for option, value in changes.items():
        found = found.having(option, value)
    return found


def test_the_fastest_within_the_budget_is_chosen() -> None:
    losses = {("proposals", 150): 0.05, ("proposals", 90): 0.1, ("proposals", 60): 0.9}
    world = World(losses=losses, gains=FASTER)
    done = searching.search(searching.space(LADDER), world)
    assert done.chosen is not None
    assert done.chosen.point == point(proposals=90)
    assert done.chosen.held_out_status == "within"
    assert done.entries[point(proposals=60)].status == "beyond"


def test_an_axis_ends_where_it_loses_too_much() -> None:
    losses = {("proposals", 90): 1.2, ("proposals", 60): 2.0}
    world = World(losses=losses, gains=FASTER)
    done = searching.search(searching.space(LADDER), world)
    skipped = done.entries[point(proposals=60)]
    assert skipped.status == "skipped"
    assert skipped.reason == (
        "proposals 90 alone already loses too much: −1.20 points [−1.40, −1.00] on 50 pictures"
    )
    assert not any(one == point(proposals=60) for one, _ in world.ran)


def test_what_straddles_the_budget_is_run_on_more_pictures_until_it_is_decided() -> None:
    # 0.4 lost: 0.4 +- 0.2 on 50 pictures, +- 0.1 on 100.
    world = World(losses={("proposals", 60): 0.4}, gains=FASTER)
    done = searching.search(searching.space({"proposals": [60]}), world)
    assert [step for one, step in world.ran if one == point(proposals=60)] == [0, 1, 2, HELD_OUT]
    assert done.entries[point(proposals=60)].status == "within"
    # Its interval was within the budget on 100 pictures; the choice is made on all of them.
    assert list(done.entries[point(proposals=60)].outcomes) == [0, 1, 2]


def test_what_stays_undecided_is_never_chosen() -> None:
    world = World(losses={("proposals", 60): 0.5}, gains=FASTER)
    done = searching.search(searching.space({"proposals": [60]}), world)
    entry = done.entries[point(proposals=60)]
    assert entry.status == "undecided"
    assert list(entry.outcomes) == [0, 1, 2]
    assert done.chosen is done.entries[point()]
    assert done.undecided == [entry]
    assert (point(proposals=60), HELD_OUT) not in world.ran


def test_more_pictures_are_not_spent_on_what_is_slower() -> None:
    world = World(losses={("precision", "float16"): 0.5}, gains={("precision", "float16"): 0.5})
    done = searching.search(searching.space({"precision": ["float16"]}), world)
    entry = done.entries[point(precision="float16")]
    assert list(entry.outcomes) == [0]
    assert entry.note == "not faster than the reference: more pictures could not let it win"
    assert done.undecided == []
    assert done.chosen is done.entries[point()]


def test_gains_are_combined_the_largest_first() -> None:
    losses = {("proposals", 90): 0.05, ("nms_levels", "across"): 0.02}
    gains = {("proposals", 90): 1.3, ("nms_levels", "across"): 1.1}
    world = World(losses=losses, gains=gains)
    values = {"nms_levels": ["across"], "proposals": [90]}
    done = searching.search(searching.space(values), world)
    assert done.chosen is not None
    assert done.chosen.point == point(proposals=90, nms_levels="across")
    assert done.chosen.latest is not None
    assert done.chosen.latest.ratio == pytest.approx(1.43)


def test_a_combination_that_loses_too_much_tries_the_milder_value() -> None:
    losses = {("proposals", 90): 0.1, ("proposals", 60): 0.25, ("nms_levels", "across"): 0.3}
    gains = {**FASTER, ("nms_levels", "across"): 2.0}
    world = World(losses=losses, gains=gains, reach=0.1)
    values = {"nms_levels": ["across"], "proposals": [90, 60]}
    done = searching.search(searching.space(values), world)
    assert done.entries[point(nms_levels="across", proposals=60)].status == "beyond"
    assert done.chosen is not None
    assert done.chosen.point == point(nms_levels="across", proposals=90)


def test_a_point_that_fails_on_unseen_pictures_gives_way_to_the_next() -> None:
    world = World(
        losses={("proposals", 90): 0.1, ("proposals", 60): 0.1},
        gains=FASTER,
        surprises={point(proposals=60): 0.9},
    )
    done = searching.search(searching.space({"proposals": [90, 60]}), world)
    worse = done.entries[point(proposals=60)]
    assert worse.held_out_status == "beyond"
    assert worse.note.startswith("on pictures that the search has not seen: −0.90 points")
    assert [one.point for one in done.judged] == [point(proposals=60), point(proposals=90)]
    assert done.chosen is done.entries[point(proposals=90)]


def test_a_speed_that_was_luck_gives_way_to_the_next() -> None:
    world = World(gains=FASTER, lucky=[point(proposals=60)])
    done = searching.search(searching.space({"proposals": [90, 60]}), world)
    lucky = done.entries[point(proposals=60)]
    assert lucky.held_out_status == "within"
    assert lucky.note.endswith(
        "1.00 [0.98, 1.02] times the reference's speed, which cannot be told from chance"
    )
    assert done.chosen is done.entries[point(proposals=90)]


def test_a_point_that_fails_is_recorded_and_the_rest_goes_on() -> None:
    world = World(gains=FASTER, failing=[("proposals", 90)])
    done = searching.search(searching.space(LADDER), world)
    assert done.entries[point(proposals=90)].status == "failed"
    assert done.entries[point(proposals=90)].reason == "the network has no such thing"
    assert done.chosen is done.entries[point(proposals=30)]


def test_without_a_reference_there_is_nothing_to_compare() -> None:
    world = World(failing=[("target", "cpu")])
    with pytest.raises(CascadeportError, match="The reference cannot be run") as raised:
        searching.search(searching.space(LADDER), world)
    assert raised.value.exit_code == ExitCode.STAGE


def test_a_speed_that_may_be_chance_is_not_chosen() -> None:
    world = World(gains={("proposals", 150): 1.05}, jitter=0.2)
    done = searching.search(searching.space({"proposals": [150]}), world)
    assert done.entries[point(proposals=150)].status == "within"
    assert done.chosen is done.entries[point()]
    assert done.undecided == []


def test_another_runtime_begins_with_what_was_learnt() -> None:
    losses = {("proposals", 90): 0.1, ("proposals", 60): 0.9}
    world = World(losses=losses, gains={**FASTER, ("target", "openvino"): 1.5})
    peers = {"openvino": {"threads": [1], "proposals": [150, 90, 60, 30]}}
    done = searching.search(searching.space(LADDER, peers=peers), world)
    assert done.chosen is not None
    assert done.chosen.point == point("openvino", proposals=90)
    # What costs too much on one runtime is not tried on the other.
    skipped = done.entries.get(point("openvino", proposals=60))
    assert skipped is None or skipped.status == "skipped"
    assert (point("openvino", proposals=60), 0) not in world.ran
    assert (point("openvino", threads=1), 0) in world.ran


def test_a_runtime_that_is_far_slower_is_left() -> None:
    world = World(gains={**FASTER, ("target", "openvino"): 0.3})
    peers = {"openvino": {"threads": [1]}}
    done = searching.search(searching.space(LADDER, peers=peers), world)
    left = done.entries[point("openvino", threads=1)]
    assert (left.status, left.reason) == ("skipped", "openvino is 0.30 times as fast as it is")


def test_a_simulated_target_has_accuracies_and_is_never_chosen() -> None:
    losses = {("target", "310P3"): 0.2, ("proposals", 90): 0.1}
    world = World(losses=losses, gains=FASTER, simulated=["310P3"])
    peers = {"310P3": {"proposals": [250, 150]}}
    done = searching.search(searching.space(LADDER, peers=peers), world)
    assert done.entries[point("310P3", proposals=250)].status == "within"
    assert done.chosen is not None
    assert done.chosen.point.target == "cpu"
    assert all(one.point.target == "cpu" for one in on_frontier(list(done.entries.values())))


def test_of_a_simulated_target_alone_nothing_is_chosen() -> None:
    world = World(losses={("proposals", 150): 0.2}, simulated=["310P3"])
    done = searching.search(searching.space({"proposals": [150]}, target="310P3"), world)
    assert done.entries[point("310P3", proposals=150)].status == "within"
    assert done.chosen is None


def test_equal_outcomes_give_equal_searches() -> None:
    losses = {("proposals", 90): 0.1, ("proposals", 60): 0.6}
    runs = []
    for _ in range(2):
        world = World(losses=losses, gains=FASTER)
        values = {"threads": [1], "nms_levels": ["across"], **LADDER}
        searching.search(searching.space(values), world)
        runs.append(world.ran)
    assert runs[0] == runs[1]


def test_the_frontier_is_what_no_other_point_beats() -> None:
    losses = {("proposals", 150): 0.3, ("proposals", 90): 0.1, ("proposals", 60): 0.9}
    world = World(losses=losses, gains=FASTER)
    done = searching.search(searching.space({"proposals": [150, 90, 60]}), world)
    front = on_frontier(list(done.entries.values()))
    assert [one.point for one in front] == [point(), point(proposals=90), point(proposals=60)]
