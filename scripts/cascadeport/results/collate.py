"""Writes a target's result.json from what its stages left."""

from __future__ import annotations

from cascadeport import evaluation
from cascadeport.base.files import disk_errors
from cascadeport.config.cards import Card
from cascadeport.config.options import Options
from cascadeport.core.plan import Plan
from cascadeport.pipeline.stages import lower
from cascadeport.pipeline.stages.evaluate import EVALUATION
from cascadeport.results import record
from cascadeport.results.record import Result


def collate(made: Plan, options: Options) -> Result:
    """Writes the target's result.json from what its stages left."""
    card = made.card
    dataset = made.source.load(options)
    infer, evaluate = made.stage("infer"), made.stage("evaluate")
    result = record.collate(
        target=made.row,
        title=made.title,
        model=record.Model(
            name=card.name,
            title=card.title,
            input=card.input.described,
            checkpoint_sha256=card.checkpoint.sha256 if card.checkpoint else None,
            reference=record.Reference(map=card.reference.map, source=card.reference.source)
            if card.reference
            else None,
        ),
        dataset=record.DatasetFacts(
            name=made.folder.name.removeprefix(f"{card.name}-"),
            images=len(dataset.items),
            root=str(dataset.root),
            annotations=str(dataset.annotations_path),
        ),
        model_digest=made.model_digest,
        dataset_digest=dataset.digest,
        semantics=[*_drawn(card), *lower.changes(made.stages)],
        evaluation=evaluation.read(evaluate.folder / EVALUATION),
        run=record.load_run(infer.folder / "run.json"),
        files={"geometry": "infer/geometry.jsonl", "log": "infer/infer.log"},
    )
    with disk_errors(made.results):
        record.write(result, made.results)
    return result


def _drawn(card: Card) -> list[str]:
    """What a result of random weights has to say."""
    if card.seed is None:
        return []
    return [
        f"random weights, seed {card.seed}: speed and parity count; the accuracy means nothing and "
        "is not comparable with the published one"
    ]
