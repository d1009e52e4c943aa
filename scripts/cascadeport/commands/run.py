"""One target from end to end: checks, plan, stages, result, comparison, report, verdict."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from cascadeport import backends, doctor
from cascadeport.base.errors import CascadeportError, ExitCode, StageError
from cascadeport.base.progress import Reporter
from cascadeport.commands import history
from cascadeport.commands.opening import opened
from cascadeport.config import frames
from cascadeport.config.options import Options
from cascadeport.core import store
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.pipeline.executor import execute, make_first
from cascadeport.pipeline.planner import plan
from cascadeport.pipeline.stages import data, export, quantise
from cascadeport.report import files as comparison_files
from cascadeport.results import collate, failure, gate, printing
from cascadeport.results import result as results
from cascadeport.results.comparison import Comparison, Row
from cascadeport.results.history import export as exports

_STYLES = {"pass": "bold green", "fail": "bold red", "undecided": "bold yellow"}


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
    if frames.needs_sizes(context.options):
        make_first(data.source(context.options, context.target).stages, context)
    made = plan(context)
    export.require(made, context)
    quantise.require(made, context)
    environment = backends.of(context.target).environment
    if environment is not None and not context.engine.in_containers:
        environment.install(reporter)
    try:
        execute(made, context)
    except CascadeportError as error:
        # A run that only found another one at work says nothing of the row.
        if not isinstance(error, store.BusyError):
            _mark(made, context, error)
        raise StageError.of(error) from error
    try:
        with store.locked(made.folder, wait=True):
            failure.clear(made.results)
            known = collate.known(made, context)
            result = collate.collate(made, known)
            table = comparison_files.update(made, context, known)
            history.keep(made, context, table)
    except CascadeportError as error:
        raise StageError.of(error) from error
    printing.show(table)
    reporter.line("report", str(made.folder / "comparison.html"))
    reporter.line("total", f"{time.monotonic() - began:.1f} s")
    if result.status == "invalid":
        reporter.line("INVALID", result.reason, "bold red")
        return ExitCode.INVALID
    return _ended([row for row in _own(table) if row.target == made.row], reporter)


def _mark(made: Plan, context: Context, error: CascadeportError) -> None:
    """Marks the row as failed, and compares what the other targets have."""
    # Neither may hide what happened.
    with contextlib.suppress(CascadeportError), store.locked(made.folder, wait=True):
        failure.mark(made.results, error)
        if any(made.folder.glob(f"*/{results.NAME}")):
            comparison_files.update(made, context, collate.known(made, context))


def compare(
    options: Options,
    reporter: Reporter,
    against: str | None = None,
    expected: Path | None = None,
    export: Path | None = None,
) -> ExitCode:
    """Writes the comparison of what has been finished.

    Args:
        against: Hold it against this run, a kept one or a folder with results; the exit code then
            says whether it is worse than that, and nothing of the verdicts.
        expected: A file of differences that are no surprise.
        export: Write the comparison there, too.
    """
    if export is not None:
        exports.check(export)
    if expected is not None and against is None:
        raise CascadeportError(
            "--expected has no meaning without an earlier run.",
            where=f"--expected {expected}",
            next="Add --against previous, or leave it out.",
        )
    with opened(options, reporter) as context:
        made = plan(context)
        with store.locked(made.folder, wait=True):
            known = collate.known(made, context)
            table = comparison_files.update(made, context, known)
            held = history.against(made, context, known, against, expected) if against else None
            history.keep(made, context, table)
        printing.show(table)
        reporter.line("report", str(made.folder / "comparison.html"))
    if export is not None:
        exports.write(table, held, export)
        reporter.line("export", str(export))
    code = _ended(_own(table), reporter)
    if held is None:
        return code
    for mark, text in held.lines():
        reporter.line(mark, text, "bold red" if mark == "WORSE" else "")
    return ExitCode.REGRESSED if held.judged.worse else ExitCode.OK


def _own(table: Comparison) -> list[Row]:
    return [row for row in table.rows if row.status != "published"]


def _ended(rows: Sequence[Row], reporter: Reporter) -> ExitCode:
    """Says the verdict on rows in words, and returns the exit code that says the same."""
    for row in rows:
        word = row.verdict.upper() if row.verdict else "verdict"
        style = _STYLES.get(row.verdict or "", "")
        reporter.line(word, f"{row.title}: {row.verdict_reason or row.reason}", style)
    verdict = gate.overall(rows)
    if verdict == "fail":
        judged = [row for row in rows if row.verdict == "fail"]
        is_invalid = all(row.status == "invalid" for row in judged)
        return ExitCode.INVALID if is_invalid else ExitCode.FAILED
    return ExitCode.UNDECIDED if verdict == "undecided" else ExitCode.OK
