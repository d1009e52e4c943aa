"""Keeps the comparison on disk up to date with the results of a model on a data set.

comparison.{json,csv,md,html}, and how the rows' detections differ: drift.json and drift/.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from cascadeport import attest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json, write_text
from cascadeport.base.reading import read_record
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.report.render import Beside, render
from cascadeport.results import comparison, drift, gate, published, tables
from cascadeport.results.collate import Known
from cascadeport.results.comparison import Comparison, Found, Row

_NAME = "comparison"
NAME = f"{_NAME}.json"


def update(plan: Plan, context: Context, known: Known) -> Comparison:
    """Computes the comparison and writes its files; equal comparisons give equal bytes.

    Nothing that was written before is believed, also if it seems to be up to date: whoever edits a
    table can edit a record of it as well.

    Args:
        known: What the rows are checked against.
    """
    with context.reporter.stage("compare and report"):
        return _update(plan, context, known)


def read(folder: Path) -> Comparison:
    """The comparison that comparison.json holds.

    Args:
        folder: results/<model>-<data>.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    path = folder / NAME
    remedy = "Write it again: cascadeport compare."
    values = read_record(path, "comparison", next=remedy)
    try:
        table = Comparison.model_validate(values)
    except ValidationError:
        table = None
    if table is None or table.format != comparison.FORMAT:
        raise CascadeportError(
            "The comparison is not in the format of this version.", where=str(path), next=remedy
        )
    return table


def row(plan: Plan, context: Context, known: Known) -> Row:
    """The row of the plan's target, computed now, beside all the others.

    Raises:
        CascadeportError: The target has no result.
    """
    _, table = _compared(plan, context, known)
    for each in table.rows:
        if each.target == plan.row and each.status != "published":
            return each
    raise CascadeportError(
        "The target has no result.", where=str(plan.results), next="Run it first: cascadeport all."
    )


def _compared(plan: Plan, context: Context, known: Known) -> tuple[list[Found], Comparison]:
    found = comparison.collect(plan.folder, known, order=list(context.targets))
    figures = published.figures(plan, context)
    return found, gate.judge(comparison.compare(found, figures), found, figures, known)


def _update(plan: Plan, context: Context, known: Known) -> Comparison:
    found, table = _compared(plan, context, known)
    write(table, plan.folder)
    results = [one.result for one in found if one.result is not None]
    comparable = comparison.comparable(table.rows, {one.target: one for one in results})
    beside = Beside(
        drift=drift.update(plan.folder, comparable, known.dataset),
        statements={one.target: attest.state(plan.folder / one.target) for one in results},
    )
    render(results, table, plan.folder / f"{_NAME}.html", known.dataset, beside)
    return table


def write(table: Comparison, folder: Path) -> None:
    """Writes comparison.json, .csv and .md; equal comparisons give equal bytes."""
    write_json(folder / NAME, table.model_dump(mode="json"))
    write_text(folder / f"{_NAME}.csv", tables.as_csv(table))
    write_text(folder / f"{_NAME}.md", tables.as_markdown(table))
