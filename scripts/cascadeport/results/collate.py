"""Computes a target's result from what its stages left, and decides whether it is valid.

A row is computed, never believed: nothing is taken from result.json, evaluation.json or the summary
in run.json. Detections are evaluated again, and times are derived again.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport import datasets, evaluation
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.evaluation import Evaluation
from cascadeport.pipeline import pictures
from cascadeport.pipeline.stages.evaluate import DETECTIONS, EVALUATION
from cascadeport.pipeline.subject import Subject
from cascadeport.results import chain as chains
from cascadeport.results import result as results
from cascadeport.results import run_record, settings, times
from cascadeport.results.differences import differences
from cascadeport.results.result import DatasetFacts, ModelFacts, PublishedAccuracy, Result, Status
from cascadeport.results.run_record import RunRecord, Summary

_REMEDY = "Run the target again."


@dataclass(frozen=True)
class Known:
    """What every row of a table is checked against. None of it comes from a result.

    Args:
        titles: The targets' titles by name, from targets.toml.
        model: The model, from its card.
        dataset: The data set, as it is now.
        data_name: How results name it.
    """

    titles: Mapping[str, str]
    model: ModelFacts
    dataset: datasets.Dataset
    data_name: str


def known(plan: Plan, context: Context) -> Known:
    """Reads what the rows of a plan's table are checked against.

    Raises:
        CascadeportError: The data set cannot be read.
    """
    card = plan.card
    reference = card.reference
    return Known(
        titles={name: target.title for name, target in context.targets.items()},
        model=ModelFacts(
            name=card.name,
            title=card.title,
            reference=PublishedAccuracy(map=reference.map, source=reference.source)
            if reference
            else None,
        ),
        dataset=plan.source.load(context.options),
        data_name=plan.folder.name.removeprefix(f"{card.name}-"),
    )


def collate(plan: Plan, facts: Known) -> Result:
    """Computes the result of the plan's target and writes its result.json."""
    result = compute(plan.results, facts)
    results.write(result, plan.results)
    return result


def compute(folder: Path, facts: Known) -> Result:
    """Computes a target's result from what its stages left.

    What does not fit together makes it invalid, with the file and the difference as the reason.

    Args:
        folder: results/<model>-<data>/<row>.

    Raises:
        CascadeportError: A file is missing or cannot be read, or the pass was about another data
            set, so that there is nothing to compute.
    """
    run = run_record.load(folder / "infer" / "run.json")
    subject = _subject(folder, run, facts)
    chain = chains.read(folder, run)
    dataset = facts.dataset
    ids = [item.id for item in dataset.items]
    summary, problems = times.derive(folder / "infer", run, chain.settings, ids)
    problems += _read_otherwise(folder / "infer", run, subject, ids)
    evaluated = _evaluated(dataset, folder / "infer" / DETECTIONS)
    stated = evaluation.read(folder / "evaluate" / EVALUATION)
    found = differences(_numbers(stated), _numbers(evaluated))
    problems += [f"evaluate/{EVALUATION}: {one}" for one in found]
    return assemble(
        target=folder.name,
        title=subject.title(facts.titles.get(subject.target, subject.target)),
        model=facts.model.model_copy(
            update={
                "input": _input(chain.settings),
                "checkpoint_sha256": subject.checkpoint_sha256,
            }
        ),
        dataset=DatasetFacts(
            name=facts.data_name,
            pictures=len(dataset.items),
            root=str(dataset.root),
            annotations=str(dataset.annotations_path),
        ),
        model_digest=subject.model_digest,
        dataset_digest=subject.dataset_digest,
        pictures_digest=subject.pictures_digest,
        semantics=[*_random_weights(subject), *subject.changes],
        settings=settings.of_job(chain.settings),
        evaluation=evaluated,
        run=run.model_copy(update={"summary": summary}),
        files={"geometry": "infer/geometry.jsonl", "log": "infer/infer.log"},
        problems=[*_misplaced(folder, subject, facts), *chain.problems, *problems],
    )


def stated_otherwise(stated: Result, computed: Result) -> list[str]:
    """What a result.json says that its stages' files do not, a clause each; empty if nothing."""
    found = differences(_comparable(stated), _comparable(computed))
    return [f"{results.NAME}: {one}" for one in found]


def _comparable(result: Result) -> dict[str, Any]:
    values = result.model_dump(mode="json")
    values["evaluation"].pop("evaluator")
    # The table shows the computed one.
    values.pop("reason")
    # From the card and from where the data set is now; both may have changed since.
    for key in ("title", "reference"):
        values["model"].pop(key)
    for key in ("root", "annotations"):
        values["dataset"].pop(key)
    return values


def _numbers(one: Evaluation) -> dict[str, Any]:
    return one.model_dump(mode="json", exclude={"evaluator"})


def _subject(folder: Path, run: RunRecord, facts: Known) -> Subject:
    subject, where = run.subject, str(folder / "infer" / "run.json")
    if subject is None:
        raise CascadeportError(
            "The record of the pass does not say what it was about.", where=where, next=_REMEDY
        )
    if subject.dataset_digest != facts.dataset.digest:
        raise CascadeportError(
            f"another data set ({subject.dataset_digest[:12]}, not {facts.dataset.digest[:12]}) "
            "than there is now; run it again to compare",
            where=where,
            next=_REMEDY,
        )
    return subject


def _misplaced(folder: Path, subject: Subject, facts: Known) -> list[str]:
    problems = []
    if subject.row != folder.name:
        problems.append(f"infer/run.json is the record of '{subject.row}', not of '{folder.name}'")
    if subject.target not in facts.titles:
        problems.append(f"targets.toml has no target '{subject.target}'")
    if subject.model != facts.model.name:
        problems.append(f"infer/run.json: the model is {subject.model}, not {facts.model.name}")
    if subject.pictures != len(facts.dataset.items):
        problems.append(
            f"infer/run.json: the data set had {subject.pictures} pictures, "
            f"not {len(facts.dataset.items)}"
        )
    return problems


def _read_otherwise(folder: Path, run: RunRecord, subject: Subject, ids: list[int]) -> list[str]:
    """Whether the pass read the pictures that its record says, and all of them."""
    found = pictures.read(folder)
    problems = []
    if pictures.joint_digest(found) != subject.pictures_digest:
        problems.append(
            f"infer/{pictures.FILE}: the pass read other pictures than infer/run.json says"
        )
    skipped = {one.id for one in run.skipped}
    if not set(ids) - skipped <= set(found) <= set(ids):
        problems.append(f"infer/{pictures.FILE} is about other pictures than the data set's")
    return problems


def _evaluated(dataset: datasets.Dataset, detections: Path) -> Evaluation:
    try:
        content = digest.of_file(detections)
    except OSError as error:
        raise CascadeportError(
            f"The detections cannot be read: {error.strerror}.",
            where=str(detections),
            next=_REMEDY,
        ) from error
    return _evaluate(dataset, detections, content)


# A run computes its own row for result.json and again with all the others.
@functools.lru_cache(maxsize=32)
def _evaluate(dataset: datasets.Dataset, detections: Path, content: str) -> Evaluation:
    with tempfile.TemporaryDirectory() as folder:
        return evaluation.evaluate(
            datasets.for_evaluation(dataset, Path(folder)),
            detections,
            [item.id for item in dataset.items],
        )


def _input(settings: Mapping[str, Any]) -> str | None:
    """How tables name the input of a job."""
    given = settings.get("input", {})
    try:
        shapes = [f"{height}x{width}" for height, width in given["shapes"]]
        long, short = given["resize"]
        is_square = [list(shape) for shape in given["shapes"]] == [[long, short]] and long == short
    except (KeyError, TypeError, ValueError):
        return None
    text = ", ".join(shapes)
    return text if is_square else f"{text}, pictures to {long}x{short}"


def assemble(
    *,
    target: str,
    title: str,
    model: ModelFacts,
    dataset: DatasetFacts,
    model_digest: str,
    dataset_digest: str,
    pictures_digest: str,
    semantics: Sequence[str],
    settings: Mapping[str, Any],
    evaluation: Evaluation,
    run: RunRecord,
    files: Mapping[str, str] | None = None,
    problems: Sequence[str] = (),
) -> Result:
    """Assembles a result and decides its status.

    Args:
        target: The target's name in targets.toml.
        title: The target's name in tables.
        model: The model that ran.
        dataset: The data set it ran on.
        model_digest: The digest of what was trained; the same on every target.
        dataset_digest: The digest of the data set.
        pictures_digest: The joint digest of the pictures as the pass read them.
        settings: The card's settings that the pass ran with.
        semantics: What the target's lowering changed in the model's meaning, in sentences.
        evaluation: The accuracy.
        run: run.json.
        files: Further files by key, relative to the result's folder.
        problems: What does not fit together, a clause each.
    """
    reasons = [*problems, *_reasons(dataset, evaluation, run)]
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
        pictures_digest=pictures_digest,
        settings_digest=digest.of_value(dict(settings)),
        settings=dict(settings),
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
    if missing < 0:
        reasons.append(f"there are results of {-missing} more pictures than the data set has")
    if (run.status == "partial") != bool(run.skipped) and "not complete" not in str(reasons):
        reasons.append(f"infer/run.json says {run.status} with {len(run.skipped)} skipped pictures")
    return reasons


def _without_times(run: RunRecord) -> RunRecord:
    # A simulator's times say nothing about the device: they must not appear anywhere.
    return run.model_copy(update={"summary": Summary()})


def _random_weights(subject: Subject) -> list[str]:
    """The remark on a result of random weights."""
    if subject.seed is None:
        return []
    return [
        f"random weights, seed {subject.seed}: throughput and parity are valid; the accuracy is "
        "meaningless and not comparable with the published one"
    ]
