"""Stages follow each other by content: a product made again is evaluated again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cascadeport.config.options import Options
from cascadeport.core import store
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource, Plan
from cascadeport.core.stage import NOT_MADE, Content, Stage
from cascadeport.pipeline import executor
from cascadeport.pipeline.planner import plan as planned
from cascadeport.pipeline.stages import evaluate

from tests.helpers.contexts import context as opened


class Restless:
    """Two stages, of which the first gives another product every time, like some networks."""

    def __init__(self, folder: Path, products: Iterator[str]) -> None:
        self.read: list[str] = []

        def first(context: Context, out: Path) -> None:
            (out / "detections.json").write_text(next(products))
            (out / "times.csv").write_text("times")

        def second(context: Context, out: Path) -> None:
            self.read.append((folder / "infer" / "detections.json").read_text())
            (out / "evaluation.json").write_text(self.read[-1])

        made = Content(folder / "infer" / "detections.json")
        self.infer = Stage("infer", "infer", folder / "infer", {}, {"network": "n"}, first)
        self.evaluate = Stage(
            "evaluate", "evaluate", folder / "evaluate", {}, {"detections": made}, second
        )


def plan(tmp_path: Path, stages: Restless) -> tuple[Plan, Context]:
    context = opened(build=tmp_path / "build", results=tmp_path / "results")
    own = (stages.infer, stages.evaluate)
    made = replace(planned(context), stages=own, folder=tmp_path, row="row")
    return made, context


def test_a_pass_made_again_is_evaluated_again(tmp_path: Path) -> None:
    stages = Restless(tmp_path / "row", (f"pass {number}" for number in itertools.count(1)))
    made, context = plan(tmp_path, stages)
    assert executor.execute(made, context)
    assert not executor.execute(made, context)
    (stages.infer.folder / "times.csv").unlink()
    assert executor.execute(made, context)
    assert stages.read == ["pass 1", "pass 2"]
    assert (stages.evaluate.folder / "evaluation.json").read_text() == "pass 2"


def test_the_same_detections_are_not_evaluated_again(tmp_path: Path) -> None:
    stages = Restless(tmp_path / "row", itertools.repeat("the same"))
    made, context = plan(tmp_path, stages)
    executor.execute(made, context)
    (stages.infer.folder / "times.csv").unlink()
    assert [freshness.reason for _, freshness in made.outlook()] == [
        "times.csv is missing",
        "unless 'infer' makes the same again",
    ]
    assert executor.execute(made, context)
    assert stages.read == ["the same"]


def test_the_evaluation_reads_the_detections_of_this_moment(tmp_path: Path) -> None:
    stages = Restless(tmp_path / "row", iter(["pass"]))
    source = DataSource("data", tmp_path, "", "", (), {"dataset": "d"})
    evaluating = evaluate.stage(stages.infer, Options(), source)
    assert evaluating.digests["detections"] == NOT_MADE
    stages.infer.folder.mkdir(parents=True)
    (stages.infer.folder / "detections.json").write_text("[]")
    before = evaluating.key
    (stages.infer.folder / "detections.json").write_text("[{}]")
    assert evaluating.key != before


@pytest.mark.parametrize("hashed", [True, False])
def test_large_products_are_hashed_where_asked(
    tmp_path: Path, hashed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_HASHED_BELOW", 1)
    with store.writing(tmp_path / "stage", "key", {}, hashed=hashed) as out:
        (out / "detections.json").write_text("[1]")
    (tmp_path / "stage" / "detections.json").write_text("[2]")
    assert store.freshness(tmp_path / "stage", "key").is_up_to_date is not hashed
    expected = ["detections.json has other content"] if hashed else []
    assert store.damage(tmp_path / "stage") == expected
