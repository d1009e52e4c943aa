"""evaluate: COCO mAP over exactly the expected pictures."""

from __future__ import annotations

from pathlib import Path

from cascadeport import datasets, evaluation
from cascadeport.base import digest
from cascadeport.base.paths import PACKAGE
from cascadeport.config.options import Options
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource
from cascadeport.core.stage import Content, Stage
from cascadeport.pipeline.stages.data import chosen

EVALUATION = "evaluation.json"
DETECTIONS = "detections.json"


def stage(inferring: Stage, options: Options, source: DataSource) -> Stage:
    """Plans the evaluation of a pass."""

    def work(context: Context, folder: Path) -> None:
        dataset = source.load(context.options)
        done = evaluation.evaluate(
            datasets.for_evaluation(dataset, folder),
            inferring.folder / DETECTIONS,
            [item.id for item in dataset.items],
        )
        evaluation.write(done, folder / EVALUATION)

    return Stage(
        name="evaluate",
        title="COCO mAP",
        folder=inferring.folder.parent / "evaluate",
        parameters={
            **chosen(options),
            "evaluators": evaluation.EVALUATORS.model_dump(mode="json"),
        },
        inputs={
            "detections": Content(inferring.folder / DETECTIONS),
            "evaluator": digest.of_sources(PACKAGE / "evaluation"),
            **source.digests,
        },
        work=work,
        hashed=True,
    )
