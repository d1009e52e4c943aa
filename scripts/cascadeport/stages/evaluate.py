"""evaluate: COCO mAP over exactly the expected pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cascadeport import datasets, digest
from cascadeport.options import Options
from cascadeport.plan import Stage
from cascadeport.stages.data import Source

if TYPE_CHECKING:
    from cascadeport.execute import Run

EVALUATION = "evaluation.json"


def stage(inferring: Stage, options: Options, source: Source) -> Stage:
    """Plans the evaluation of a pass."""

    def work(run: Run, folder: Path) -> None:
        from cascadeport import evaluation

        dataset = source.load(run.options)
        done = evaluation.evaluate(
            datasets.for_evaluation(dataset, folder),
            inferring.folder / "detections.json",
            [item.id for item in dataset.items],
        )
        evaluation.write(done, folder / EVALUATION)

    return Stage(
        name="evaluate",
        title="COCO mAP",
        folder=inferring.folder.parent / "evaluate",
        parameters={"limit": options.limit},
        inputs={
            "detections": inferring.key,
            "evaluator": digest.of_sources(Path(__file__).parents[1] / "evaluation"),
            **source.digests,
        },
        work=work,
    )
