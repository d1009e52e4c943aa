"""Keeps comparison.{json,csv,md,html} up to date with the results of a model on a data set."""

from __future__ import annotations

from pathlib import Path

from cascadeport.base import digest
from cascadeport.base.files import write_json, write_text
from cascadeport.base.reading import RECORD_LIMIT, read_bytes
from cascadeport.base.text import printable
from cascadeport.core import store
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.results import comparison, published, tables
from cascadeport.results import result as results
from cascadeport.results.collate import Known
from cascadeport.results.comparison import Comparison

_RECORD = ".comparison.json"
_NAME = "comparison"
_FILES = tuple(f"{_NAME}.{suffix}" for suffix in ("json", "csv", "md", "html"))


def update(plan: Plan, context: Context, known: Known, *, force: bool = False) -> str:
    """Writes the four files if any of their inputs has changed; returns the Markdown table.

    Args:
        known: What the rows are checked against.
        force: Write them even if nothing has changed.
    """
    reporter = context.reporter
    key = _key(plan, context, known)
    freshness = store.freshness(plan.folder, key, _RECORD)
    if freshness.is_up_to_date and not force:
        reporter.line("skip", f"compare and report: {freshness.reason}", "dim")
    else:
        with reporter.stage("compare and report"):
            _update(plan, context, known)
            files = [plan.folder / name for name in _FILES]
            store.write_record(plan.folder, key, files, {"stage": "compare"}, _RECORD)
    table = read_bytes(plan.folder / f"{_NAME}.md", "table", limit=RECORD_LIMIT)
    return printable(table.decode("utf-8", "replace"), lines=True)


def _update(plan: Plan, context: Context, known: Known) -> None:
    from cascadeport.results import report

    found = comparison.collect(plan.folder, known, order=list(context.targets))
    table = comparison.compare(found, published.figures(plan, context))
    write(table, plan.folder)
    found_results = [one.result for one in found if one.result is not None]
    report.render(found_results, table, plan.folder / f"{_NAME}.html", known.dataset)


def write(table: Comparison, folder: Path) -> None:
    """Writes comparison.json, .csv and .md; equal comparisons give equal bytes."""
    write_json(folder / f"{_NAME}.json", table.model_dump(mode="json"))
    write_text(folder / f"{_NAME}.csv", tables.as_csv(table))
    write_text(folder / f"{_NAME}.md", tables.as_markdown(table))


def _key(plan: Plan, context: Context, known: Known) -> str:
    # Everything that a row is computed from: if any of it changes, the table is written again.
    found = [
        path
        for name in (results.NAME, *(f"{stage}/*" for stage in ("infer", "evaluate")))
        for path in sorted(plan.folder.glob(f"*/{name}"))
        if path.is_file()
    ]
    return digest.of_value(
        {
            "files": {
                path.relative_to(plan.folder).as_posix(): digest.of_file(path) for path in found
            },
            "titles": dict(known.titles),
            "model": known.model.model_dump(mode="json"),
            "dataset": known.dataset.digest,
            "published": [vars(row) for row in published.figures(plan, context)],
            "code": digest.of_sources(Path(__file__).parent),
            "report": digest.of_sources(Path(__file__).parent / "report", "*"),
        }
    )
