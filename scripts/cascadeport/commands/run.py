"""One target from end to end: checks, plan, stages, result, comparison, report."""

from __future__ import annotations

import time

from cascadeport import backends, doctor
from cascadeport.base.errors import CascadeportError, ExitCode, StageError
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import opened
from cascadeport.config.options import Options
from cascadeport.core import store
from cascadeport.core.context import Context
from cascadeport.pipeline.executor import execute
from cascadeport.pipeline.planner import plan
from cascadeport.pipeline.stages import export
from cascadeport.results import collate, comparison_files


def run(options: Options, reporter: Reporter) -> ExitCode:
    """Runs the whole pipeline of one target."""
    with opened(options, reporter) as context:
        return _run(context)


def _run(context: Context) -> ExitCode:
    reporter = context.reporter
    began = time.monotonic()
    for finding in doctor.require(context):
        if finding.status == "warn":
            reporter.note(f"{finding.check}: {finding.finding} {finding.remedy}")
    made = plan(context)
    export.require(made, context)
    environment = backends.of(context.target).environment
    if environment is not None and not context.engine.in_containers:
        environment.install(reporter)
    try:
        execute(made, context)
        with store.locked(made.folder, wait=True):
            known = collate.known(made, context)
            result = collate.collate(made, known)
            table = comparison_files.update(made, context, known)
    except CascadeportError as error:
        raise StageError.of(error) from error
    print(table)
    if result.status == "invalid":
        reporter.line("INVALID", result.reason, "bold red")
    reporter.line("report", str(made.folder / "comparison.html"))
    reporter.line("total", f"{time.monotonic() - began:.1f} s")
    return ExitCode.INVALID if result.status == "invalid" else ExitCode.OK


def compare(options: Options, reporter: Reporter) -> ExitCode:
    """Writes the comparison of what has been finished."""
    with opened(options, reporter) as context:
        made = plan(context)
        with store.locked(made.folder, wait=True):
            known = collate.known(made, context)
            print(comparison_files.update(made, context, known, force=True))
        reporter.line("report", str(made.folder / "comparison.html"))
    return ExitCode.OK
