"""Runs a plan: stages that are up to date are skipped, the others are made atomically."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cascadeport.core import store
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.core.stage import Stage


def execute(plan: Plan, context: Context) -> bool:
    """Runs every stage that is not up to date.

    Returns:
        Whether anything was done.

    Raises:
        CascadeportError: A stage failed; the stages before it are kept.
    """
    for note in plan.notes:
        context.reporter.note(note)
    with store.locked(plan.results):
        done = [_stage(plan, context, stage) for stage in plan.stages]
    return any(done)


def make_first(stages: Sequence[Stage], context: Context) -> None:
    """Makes what a plan cannot be computed without: the data set that shapes are chosen for.

    Raises:
        CascadeportError: A stage failed.
    """
    for stage in stages:
        if not stage.freshness.is_up_to_date:
            with store.locked(stage.folder.parent, wait=True):
                _make(context, stage)


def _stage(plan: Plan, context: Context, stage: Stage) -> bool:
    freshness = stage.freshness
    if freshness.is_up_to_date:
        context.reporter.line("skip", f"{stage.title}: {freshness.reason}", "dim")
        return False
    if plan.is_shared(stage):
        # Several targets share this product: the second waits here, then finds it up to date.
        with store.locked(stage.folder.parent, wait=True):
            return _make(context, stage)
    return _make(context, stage)


def _make(context: Context, stage: Stage) -> bool:
    reporter = context.reporter
    freshness = stage.freshness
    if freshness.is_up_to_date:
        reporter.line("skip", f"{stage.title}: made by another run", "dim")
        return False
    began = time.monotonic()
    title = stage.title
    if freshness.reason != store.NOT_DONE:
        title += f" ({freshness.reason})"
    keep = context.options.keep_failed
    with (
        reporter.stage(title),
        store.writing(
            stage.folder, stage.key, stage.facts(), keep_failed=keep, hashed=stage.hashed
        ) as folder,
    ):
        stage.work(context, folder)
    reporter.line("done", f"{stage.title} in {time.monotonic() - began:.1f} s", "green")
    return True
