"""Collates a target's result from the outputs of its stages, and decides whether it is valid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cascadeport import evaluation
from cascadeport.config.cards import Card
from cascadeport.config.options import Options
from cascadeport.core.plan import Plan
from cascadeport.evaluation import Evaluation
from cascadeport.pipeline.stages import lower
from cascadeport.pipeline.stages.evaluate import EVALUATION
from cascadeport.results import result as results
from cascadeport.results import run_record
from cascadeport.results.result import DatasetFacts, ModelFacts, PublishedAccuracy, Result, Status
from cascadeport.results.run_record import RunRecord, Summary


def collate(plan: Plan, options: Options) -> Result:
    """Writes the target's result.json from the outputs of its stages."""
    card = plan.card
    dataset = plan.source.load(options)
    infer, evaluate = plan.stage("infer"), plan.stage("evaluate")
    reference = card.reference
    result = assemble(
        target=plan.row,
        title=plan.title,
        model=ModelFacts(
            name=card.name,
            title=card.title,
            input=card.input.described,
            checkpoint_sha256=card.checkpoint.sha256 if card.checkpoint else None,
            reference=PublishedAccuracy(map=reference.map, source=reference.source)
            if reference
            else None,
        ),
        dataset=DatasetFacts(
            name=plan.folder.name.removeprefix(f"{card.name}-"),
            pictures=len(dataset.items),
            root=str(dataset.root),
            annotations=str(dataset.annotations_path),
        ),
        model_digest=plan.model_digest,
        dataset_digest=dataset.digest,
        semantics=[*_random_weights(card), *lower.changes(plan.stages)],
        evaluation=evaluation.read(evaluate.folder / EVALUATION),
        run=run_record.load(infer.folder / "run.json"),
        files={"geometry": "infer/geometry.jsonl", "log": "infer/infer.log"},
    )
    results.write(result, plan.results)
    return result


def assemble(
    *,
    target: str,
    title: str,
    model: ModelFacts,
    dataset: DatasetFacts,
    model_digest: str,
    dataset_digest: str,
    semantics: Sequence[str],
    evaluation: Evaluation,
    run: RunRecord,
    files: Mapping[str, str] | None = None,
) -> Result:
    """Assembles a result and decides its status.

    Args:
        target: The target's name in targets.toml.
        title: The target's name in tables.
        model: The model that ran.
        dataset: The data set it ran on.
        model_digest: The digest of what was trained; the same on every target.
        dataset_digest: The digest of the data set.
        semantics: What the target's lowering changed in the model's meaning, in sentences.
        evaluation: The accuracy.
        run: run.json.
        files: Further files by key, relative to the result's folder.
    """
    reasons = _reasons(dataset, evaluation, run)
    status: Status = "measured"
    if reasons:
        status = "invalid"
    elif run.simulated:
        status = "simulated"
    timed = not run.simulated
    return Result(
        target=target,
        title=title,
        status=status,
        reason="; ".join(reasons),
        model=model,
        dataset=dataset,
        map=evaluation.stats["AP"],
        map50=evaluation.stats["AP50"],
        map75=evaluation.stats["AP75"],
        pictures=evaluation.pictures,
        chip_ips=run.summary.chip_ips if timed else None,
        device_ips=run.summary.device_ips if timed else None,
        end_to_end_ips=run.summary.end_to_end_ips if timed else None,
        latency_ms=run.summary.latency_ms if timed else None,
        bundle_digest=run.digests.bundle,
        model_digest=model_digest,
        dataset_digest=dataset_digest,
        semantics=list(semantics),
        evaluation=evaluation,
        run=run if timed else _without_times(run),
        files={
            "detections": "infer/detections.json",
            "times": "infer/times.csv",
            **(files or {}),
        },
    )


def _reasons(dataset: DatasetFacts, evaluation: Evaluation, run: RunRecord) -> list[str]:
    """Why the result is invalid; empty if it is valid."""
    reasons = [problem.rstrip(".") for problem in run.problems]
    if run.skipped and not any("skipped" in reason for reason in reasons):
        reasons.append(f"{len(run.skipped)} of {dataset.pictures} pictures were skipped")
    if run.status != "complete" and not reasons:
        reasons.append("the pass is not complete")
    if evaluation.pictures != dataset.pictures:
        reasons.append(
            f"{evaluation.pictures} pictures were evaluated instead of {dataset.pictures}"
        )
    missing = dataset.pictures - run.pictures - len(run.skipped)
    if missing > 0:
        reasons.append(f"{missing} pictures have no result")
    return reasons


def _without_times(run: RunRecord) -> RunRecord:
    # A simulator's times say nothing about the device: they must not appear anywhere.
    return run.model_copy(update={"summary": Summary()})


def _random_weights(card: Card) -> list[str]:
    """The remark on a result of random weights."""
    if card.seed is None:
        return []
    return [
        f"random weights, seed {card.seed}: throughput and parity are valid; the accuracy is "
        "meaningless and not comparable with the published one"
    ]
