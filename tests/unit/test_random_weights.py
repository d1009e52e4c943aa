"""Random weights: a model of its own, without published accuracy."""

from __future__ import annotations

from typing import Any

from cascadeport.config import cards
from cascadeport.config.options import Options
from cascadeport.core.plan import Plan
from cascadeport.pipeline.planner import plan
from cascadeport.results import published

from tests.helpers.contexts import context


def r101(target: str = "cpu", **options: Any) -> Plan:
    return plan(context(target, model="cascade_r101_dcn", data="demo", **options))


def drawn(seed: int, target: str = "cpu", **options: Any) -> Plan:
    return r101(target, random_weights=seed, **options)


def test_a_seed_names_the_model_and_its_folders() -> None:
    made = drawn(3)
    assert made.card.name == "cascade_r101_dcn-random3"
    assert made.card.title.endswith(", random weights, seed 3")
    assert made.title == "CPU, onnxruntime (random weights, seed 3)"
    assert made.folder.name == "cascade_r101_dcn-random3-demo"
    assert {
        stage.folder.parent.name for stage in made.stages if stage.name in ("export", "lower")
    } == {"cascade_r101_dcn-random3"}


def test_nothing_is_fetched_for_them() -> None:
    fetched = [stage.title for stage in drawn(1).stages if stage.name == "fetch"]
    assert fetched == ["draw the 200 pictures of demo"]


def test_the_digest_is_that_of_the_seed_on_every_target() -> None:
    digests = [drawn(seed).model_digest for seed in (1, 2)]
    trained = r101().model_digest
    assert trained == "3b2f0594"
    assert len({trained, *digests}) == 3
    assert all(len(digest) == 64 and not digest.startswith(trained) for digest in digests)
    # A container exports the same weights as this machine, and LIMIT changes nothing in them.
    for other in (drawn(1, "T4"), drawn(1, limit=5)):
        assert other.model_digest == digests[0]
    # They are calibrated on a picture of the data set.
    scenes = drawn(1).stage("export").inputs["dataset"]
    assert scenes == drawn(1).stages[0].key


def test_published_throughput_is_shown_beside_them_and_published_accuracy_is_not() -> None:
    rows = published.figures(drawn(1), context())
    assert {row.target for row in rows} == {"310", "310P3", "T4", ""}
    assert all(row.map is None and row.device_ips for row in rows)
    rows = published.figures(r101(), context())
    assert [row.target for row in rows][:2] == ["reference", "310"]
    assert rows[1].map == 0.452


def test_a_card_that_was_published_with_its_graph_is_exported_again() -> None:
    card = cards.load(cards.find("demo", Options().models))
    assert card.graph is not None
    made = card.with_random_weights(0)
    assert made.graph is made.reference is None
    assert card.to_be_exported().checkpoint == card.checkpoint
    assert card.to_be_exported().name == "demo"
