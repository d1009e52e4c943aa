"""Computes a target's result from what its stages left, and decides whether it is valid.

A row is computed, never believed: nothing is taken from result.json, evaluation.json or the summary
in run.json. Detections are evaluated again, and times are derived again.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascadeport import backends, datasets, evaluation
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.config.gate import Gate
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.evaluation import Evaluation
from cascadeport.pipeline import companions, pictures
from cascadeport.pipeline.stages.evaluate import DETECTIONS, EVALUATION
from cascadeport.pipeline.subject import Subject
from cascadeport.results import chain as chains
from cascadeport.results import conditions as conditions_of_pass
from cascadeport.results import fleet as fleets
from cascadeport.results import overlaps, proof, run_record, settings, times
from cascadeport.results import result as results
from cascadeport.results.conditions import Conditions
from cascadeport.results.differences import differences
from cascadeport.results.fleet import Derived
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
        gates: What card and targets.toml declare to be good enough now, by target.
        runners: What runs each target's network, by target: see `runners_of`.
        judges: What proves a device of each target, by target: see `judges_of`.
    """

    titles: Mapping[str, str]
    model: ModelFacts
    dataset: datasets.Dataset
    data_name: str
    gates: Mapping[str, Gate] = field(default_factory=dict)
    runners: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    judges: Mapping[str, proof.Judge] = field(default_factory=dict)


def runners_of(targets: Mapping[str, Target]) -> dict[str, tuple[str, str]]:
    """The runner and the provider that each target's row means; empty where it has none."""
    found = {}
    for name, target in targets.items():
        runner = backends.of(target).runner(Options())
        found[name] = (str(runner["name"]), str(runner.get("provider") or ""))
    return found


def judges_of(targets: Mapping[str, Target]) -> dict[str, proof.Judge]:
    """What says of each target whether a device is one of its own."""
    return {name: backends.of(target).unproved for name, target in targets.items()}


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
        gates={name: card.gate.overridden(target.gate) for name, target in context.targets.items()},
        runners=runners_of(context.targets),
        judges=judges_of(context.targets),
    )


def collate(plan: Plan, facts: Known) -> Result:
    """Computes the result of the plan's target and writes its result.json."""
    result = compute(plan.results, facts)
    results.write(result, plan.results)
    return result


def compute(folder: Path, facts: Known, *, kept: bool = True) -> Result:
    """Computes a target's result from what its stages left.

    What does not fit together makes it invalid, with the file and the difference as the reason.

    Args:
        folder: results/<model>-<data>/<row>.
        kept: Whether the numbers of record that evaluation.json keeps are taken where the fast
            evaluator confirms them; else they are computed, which may take minutes.

    Raises:
        CascadeportError: A file is missing or cannot be read, or the pass was about another data
            set, so that there is nothing to compute.
    """
    run = run_record.load(folder / "infer" / "run.json")
    subject = _subject(folder, run, facts)
    chain = chains.read(folder, run)
    dataset = facts.dataset
    ids = [item.id for item in dataset.items]
    figures, problems = _companions(folder / "infer", run, chain.settings, ids)
    fleet: Derived | None = None
    conditions: Conditions | None = None
    if run.shards:
        fleet = fleets.derive(folder / "infer", run, chain.settings, ids)
        summary = fleet.summary
        problems += fleet.problems
    else:
        summary, found_there = times.derive(folder / "infer", run, chain.settings, ids)
        problems += found_there
        conditions, found_there = conditions_of_pass.derive(folder / "infer", run, chain.settings)
        problems += found_there
    problems += _read_otherwise(folder / "infer", run, subject, ids)
    stated, evaluated = _evaluated(dataset, folder, kept)
    found = differences(_numbers(stated), _numbers(evaluated))
    problems += [f"evaluate/{EVALUATION}: {one}" for one in found]
    problems += [f"the two evaluators differ: {one}" for one in evaluated.disagreements]
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
            pictures_root=str(dataset.pictures_dir),
        ),
        model_digest=subject.model_digest,
        dataset_digest=subject.dataset_digest,
        pictures_digest=subject.pictures_digest,
        semantics=[*_random_weights(subject), *subject.changes],
        settings=settings.of_job(chain.settings),
        gate=subject.gate,
        evaluation=evaluated,
        run=run.model_copy(update={"summary": summary}),
        files={"geometry": "infer/geometry.jsonl", "log": "infer/infer.log"},
        conditions=conditions,
        fleet=fleet,
        remarks=companions.remark(figures),
        problems=[
            *_misplaced(folder, subject, facts),
            *_ran_elsewhere(run, subject, chain.settings, facts),
            *chain.problems,
            *proof.problems(run, facts.judges.get(subject.target)),
            *problems,
        ],
    )


def stated_otherwise(stated: Result, computed: Result) -> list[str]:
    """What a result.json says that its stages' files do not, a clause each; empty if nothing."""
    found = differences(_comparable(stated), _comparable(computed))
    return [f"{results.NAME}: {one}" for one in found]


def _comparable(result: Result) -> dict[str, Any]:
    values = result.model_dump(mode="json")
    values["evaluation"].pop("evaluators")
    # The table shows the computed one.
    values.pop("reason")
    # From the card and from where the data set is now; both may have changed since.
    for key in ("title", "reference"):
        values["model"].pop(key)
    for key in ("root", "annotations", "pictures_root"):
        values["dataset"].pop(key)
    return values


def _numbers(one: Evaluation) -> dict[str, Any]:
    return one.model_dump(mode="json", exclude={"evaluators"})


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


def _ran_elsewhere(
    run: RunRecord, subject: Subject, settings: Mapping[str, Any], facts: Known
) -> list[str]:
    """Whether the job was for what its target runs on, and ran there."""
    runner = settings.get("runner")
    asked = dict(runner) if isinstance(runner, Mapping) else {}
    name, provider = str(asked.get("name")), str(asked.get("provider") or "")
    meant = facts.runners.get(subject.target)
    problems = []
    if meant is not None and (name, provider) != meant:
        problems.append(
            f"infer/stage.json: the job is for {_named(name, provider)}, {subject.target} runs by "
            f"{_named(*meant)}"
        )
    used = run.environment.get("provider")
    if provider and used != provider:
        problems.append(f"infer/run.json: {used} ran the network, the job asks for {provider}")
    return problems


def _named(runner: str, provider: str) -> str:
    return f"{runner} on {provider}" if provider else runner


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


def _companions(
    folder: Path, run: RunRecord, settings: Mapping[str, Any], ids: list[int]
) -> tuple[dict[str, companions.Figures], list[str]]:
    """How much detections depend on companions, and what is wrong with that."""
    skipped = {one.id for one in run.skipped}
    figures, problems = companions.compare(folder, settings, [n for n in ids if n not in skipped])
    stated = (run.model_extra or {}).get(companions.KEY) or {}
    computed = {name: one.model_dump() for name, one in figures.items()}
    found = differences(stated, computed, companions.KEY)
    problems += [f"infer/run.json: {one} by infer/{companions.FILE}" for one in found]
    return figures, problems


def _evaluated(
    dataset: datasets.Dataset, folder: Path, take_kept: bool
) -> tuple[Evaluation, Evaluation]:
    """What the evaluation of a row says, and what it is by the detections."""
    detections, kept = folder / "infer" / DETECTIONS, folder / "evaluate" / EVALUATION
    try:
        content = digest.of_file(detections)
    except OSError as error:
        raise CascadeportError(
            f"The detections cannot be read: {error.strerror}.",
            where=str(detections),
            next=_REMEDY,
        ) from error
    stated = evaluation.read(kept)
    confirmed = (kept, digest.of_file(kept)) if take_kept else None
    return stated, _evaluate(dataset, detections, content, confirmed)


# A run computes its own row for result.json and again with all the others.
@functools.lru_cache(maxsize=32)
def _evaluate(
    dataset: datasets.Dataset, detections: Path, content: str, kept: tuple[Path, str] | None
) -> Evaluation:
    with tempfile.TemporaryDirectory() as folder:
        return evaluation.evaluate(
            datasets.for_evaluation(dataset, Path(folder)),
            detections,
            [item.id for item in dataset.items],
            evaluation.read(kept[0]) if kept else None,
        )


def _input(settings: Mapping[str, Any]) -> str | None:
    """How tables name the input of a job."""
    given = settings.get("input", {})
    try:
        shapes = [f"{height}x{width}" for height, width in given["shapes"]]
        long, short = given["resize"]
        if given.get("multiple"):
            return f"own shapes, pictures to {long}x{short}"
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
    gate: Gate | None = None,
    files: Mapping[str, str] | None = None,
    conditions: Conditions | None = None,
    fleet: Derived | None = None,
    problems: Sequence[str] = (),
    remarks: Sequence[str] = (),
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
        gate: What was declared to be good enough.
        files: Further files by key, relative to the result's folder.
        conditions: Those of the timed passes.
        fleet: What the shards of a pass in shards say together.
        problems: What does not fit together, a clause each.
        remarks: What has to be said besides, in sentences.
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
        conditions=conditions,
        fleet=fleet.fleet if fleet else None,
        remarks=[
            *(remarks if not reasons else ()),
            *(overlaps.remarks(run) if timed else ()),
            *(_remarks(conditions, fleet) if timed else ()),
        ],
        gate=gate,
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


def _remarks(conditions: Conditions | None, fleet: Derived | None) -> list[str]:
    return list(fleet.remarks) if fleet else conditions_of_pass.remarks(conditions)


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
