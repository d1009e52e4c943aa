"""Runs a plan: stages that stand are skipped, the others are made whole or not at all."""

from __future__ import annotations

import time
from dataclasses import dataclass

from cascadeport import store
from cascadeport.engines import Engine, choose
from cascadeport.options import Options
from cascadeport.plan import Plan, Stage
from cascadeport.progress import Reporter


@dataclass(frozen=True)
class Run:
    """What a stage needs to do its work."""

    plan: Plan
    options: Options
    engine: Engine
    reporter: Reporter


def execute(plan: Plan, options: Options, reporter: Reporter) -> bool:
    """Runs every stage that does not stand.

    Returns:
        Whether anything was done.

    Raises:
        CascadeportError: A stage failed; the stages before it are kept.
    """
    for note in plan.notes:
        reporter.note(note)
    engine = choose.create(plan.engine, plan.target_name, plan.target, options)
    try:
        run = Run(plan, options, engine, reporter)
        with store.locked(plan.results):
            done = [_stage(run, stage) for stage in plan.stages]
        return any(done)
    finally:
        engine.close()


def _stage(run: Run, stage: Stage) -> bool:
    standing = stage.standing
    if standing.current:
        run.reporter.line("skip", f"{stage.title}: {standing.reason}", "dim")
        return False
    if plan_is_shared(run.plan, stage):
        # Several targets share this product: the second waits here and then finds it standing.
        with store.locked(stage.folder.parent, wait=True):
            return _make(run, stage)
    return _make(run, stage)


def plan_is_shared(plan: Plan, stage: Stage) -> bool:
    """Whether runs of other targets make the same product."""
    return plan.results not in stage.folder.parents


def _make(run: Run, stage: Stage) -> bool:
    standing = stage.standing
    if standing.current:
        run.reporter.line("skip", f"{stage.title}: made by another run", "dim")
        return False
    began = time.monotonic()
    title = stage.title
    if standing.reason != "not done yet":
        title += f" ({standing.reason})"
    with (
        run.reporter.stage(title),
        store.writing(
            stage.folder, stage.key, stage.facts(), keep_failed=run.options.keep_failed
        ) as folder,
    ):
        stage.work(run, folder)
    run.reporter.line("done", f"{stage.title} in {time.monotonic() - began:.1f} s", "green")
    return True
