"""One target from end to end: plan, stages, result, comparison, report."""

from __future__ import annotations

import time

from cascadeport import comparing, doctor, results, store, targets
from cascadeport.cards import Card
from cascadeport.errors import CascadeportError
from cascadeport.execute import execute
from cascadeport.options import Options
from cascadeport.plan import Plan, plan
from cascadeport.progress import Reporter
from cascadeport.results import Result
from cascadeport.stages import export, graph
from cascadeport.stages.evaluate import EVALUATION

INVALID = 4


def run(options: Options, reporter: Reporter) -> int:
    """Runs `cascadeport all` for one target and returns the exit code."""
    began = time.monotonic()
    target = targets.find(options.target, targets.load(options.targets))
    for finding in doctor.require(options.target, target, options):
        if finding.status == "warn":
            reporter.note(f"{finding.check}: {finding.finding} {finding.remedy}")
    made = plan(options)
    export.require(made)
    try:
        execute(made, options, reporter)
        with store.locked(made.folder, wait=True):
            result = collate(made, options)
            table = comparing.update(made, options, reporter)
    except CascadeportError as error:
        error.started = True
        raise
    print(table)
    if result.status == "invalid":
        reporter.line("INVALID", result.reason, "bold red")
    reporter.line("report", str(made.folder / "comparison.html"))
    reporter.line("total", f"{time.monotonic() - began:.1f} s")
    return INVALID if result.status == "invalid" else 0


def compare(options: Options, reporter: Reporter) -> int:
    """Writes the comparison of what has been finished and returns the exit code."""
    made = plan(options)
    with store.locked(made.folder, wait=True):
        print(comparing.update(made, options, reporter, again=True))
    reporter.line("report", str(made.folder / "comparison.html"))
    return 0


def collate(made: Plan, options: Options) -> Result:
    """Writes the target's result.json from what its stages left."""
    from cascadeport import evaluation

    card = made.card
    dataset = made.source.load(options)
    infer, evaluate = made.stage("infer"), made.stage("evaluate")
    result = results.collate(
        target=made.row,
        title=made.title,
        model=results.Model(
            name=card.name,
            title=card.title,
            input=card.input.described,
            checkpoint_sha256=card.checkpoint.sha256 if card.checkpoint else None,
            reference=results.Reference(map=card.reference.map, source=card.reference.source)
            if card.reference
            else None,
        ),
        dataset=results.DatasetFacts(
            name=made.folder.name.removeprefix(f"{card.name}-"),
            images=len(dataset.items),
            root=str(dataset.root),
            annotations=str(dataset.annotations_path),
        ),
        model_digest=made.model_digest,
        dataset_digest=dataset.digest,
        semantics=[*_drawn(card), *graph.changes(made.stages)],
        evaluation=evaluation.read(evaluate.folder / EVALUATION),
        run=results.load_run(infer.folder / "run.json"),
        files={"geometry": "infer/geometry.jsonl", "log": "infer/infer.log"},
    )
    with store.explained(made.results):
        results.write(result, made.results)
    return result


def _drawn(card: Card) -> list[str]:
    """What a result of random weights has to say."""
    if card.seed is None:
        return []
    return [
        f"random weights, seed {card.seed}: speed and parity count; the accuracy means nothing and "
        "is not comparable with the published one"
    ]
