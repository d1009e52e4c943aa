"""`cascadeport history`: the runs that are kept; and a comparison held against one of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.base.reading import is_dir
from cascadeport.base.text import printable
from cascadeport.commands.opening import opened
from cascadeport.config.options import Options
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.pipeline.planner import plan
from cascadeport.results import comparison, gate, published
from cascadeport.results.collate import Known
from cascadeport.results.comparison import Comparison, Found
from cascadeport.results.history import changes, expected, runs
from cascadeport.results.history.against import Against
from cascadeport.results.history.changes import Side
from cascadeport.results.history.runs import Run
from cascadeport.results.numbers import number

_HEAD = ("run", "last seen, UTC", "row", "status", "verdict", "mAP", "device img/s")


def history(options: Options, reporter: Reporter, *, as_json: bool = False) -> ExitCode:
    """Lists the kept runs of a model on a data set, the newest first."""
    with opened(options, reporter) as context:
        folder = plan(context).folder
    found = runs.every(folder)
    if as_json:
        values = [one.model_dump(mode="json") for one in found]
        print(json.dumps(values, indent=1, ensure_ascii=False))
    elif not found:
        reporter.note(f"no run is kept in {folder / runs.FOLDER}")
    else:
        _print(found)
    return ExitCode.OK


def _print(found: list[Run]) -> None:
    lines = [line for one in found for line in _lines(one)]
    if not sys.stdout.isatty():
        for cells in (_HEAD, ["---"] * len(_HEAD), *lines):
            print(f"| {' | '.join(cells)} |")
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for place, name in enumerate(_HEAD):
        table.add_column(name, justify="right" if place > 4 else "left", overflow="fold")
    for cells in lines:
        table.add_row(*cells)
    Console(highlight=False, emoji=False, markup=False).print(table)


def _lines(run: Run) -> list[list[str]]:
    lines: list[list[str]] = []
    for row in run.comparison.rows:
        if row.status == "published":
            continue
        first = ["", ""] if lines else [run.id[: runs.SHOWN], run.last[:19].replace("T", " ")]
        status = "INVALID" if row.status == "invalid" else row.status
        verdict = row.verdict.upper() if row.verdict else ""
        numbers = [number(row.map, 3), number(row.device_ips, 2)]
        lines.append([*first, printable(row.target), status, verdict, *numbers])
    return lines or [[run.id[: runs.SHOWN], run.last, "", "", "", "", ""]]


def against(made: Plan, context: Context, known: Known, name: str, file: Path | None) -> Against:
    """Holds what there is now against an earlier run.

    Args:
        made: The plan whose folder is compared.
        known: What rows are checked against.
        name: A kept run, or a folder with results.
        file: Expected differences.

    Raises:
        CascadeportError: There is no such run, or the file has errors.
    """
    reasons = expected.load(file) if file else ()
    order = list(context.targets)
    now = _side(comparison.collect(made.folder, known, order), made, context, known)
    if is_dir(Path(name)):
        title, found = name, comparison.collect(Path(name), known, order)
        if not found:
            raise CascadeportError(
                "There are no results in this folder.",
                where=f"--against {name}",
                next="Give results/<model>-<data> of another checkout, or a kept run: "
                "`cascadeport history`.",
            )
    else:
        run = runs.find(made.folder, name, runs.identity(runs.current(made.folder, now.table)))
        title = f"run {run.id[: runs.SHOWN]}"
        found = runs.collect(made.folder, run, known, order)
    before = _side(found, made, context, known)
    judged = expected.judge(changes.changes(before, now, known.dataset), reasons)
    return Against(title, judged)


def _side(found: list[Found], made: Plan, context: Context, known: Known) -> Side:
    figures = published.figures(made, context)
    table = gate.judge(comparison.compare(found, figures), found, figures, known)
    return Side(table, {one.target: one.result for one in found if one.result is not None})


def keep(made: Plan, context: Context, table: Comparison) -> None:
    """Keeps the results as a run. That it cannot be kept is no reason for a run to fail."""
    try:
        runs.keep(made.folder, table, context.options.keep_runs)
    except CascadeportError as error:
        context.reporter.note(f"this run is not kept in the history: {error.what} {error.next}")
