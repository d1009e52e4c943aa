"""Keeps comparison.{json,csv,md,html} in step with the results of a model on a data set."""

from __future__ import annotations

from pathlib import Path

from cascadeport.base import digest
from cascadeport.base.files import disk_errors
from cascadeport.base.reading import RECORD_LIMIT, read_bytes
from cascadeport.base.text import printable
from cascadeport.core import store
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.results import comparison, record
from cascadeport.results.comparison import Published

_RECORD = ".comparison.json"
_FILES = tuple(f"{comparison.NAME}.{suffix}" for suffix in ("json", "csv", "md", "html"))


def update(made: Plan, context: Context, *, again: bool = False) -> str:
    """Writes the four files if anything that they show has changed; returns the table.

    Args:
        again: Write them whether or not anything has changed.
    """
    reporter = context.reporter
    key = _key(made, context)
    freshness = store.freshness(made.folder, key, _RECORD)
    if freshness.is_up_to_date and not again:
        reporter.line("skip", f"compare and report: {freshness.reason}", "dim")
    else:
        with reporter.stage("compare and report"), disk_errors(made.folder):
            _write(made, context)
            files = [made.folder / name for name in _FILES]
            store.write_record(made.folder, key, files, {"stage": "compare"}, _RECORD)
    table = read_bytes(made.folder / f"{comparison.NAME}.md", "table", limit=RECORD_LIMIT)
    return printable(table.decode("utf-8", "replace"), lines=True)


def _write(made: Plan, context: Context) -> None:
    from cascadeport.results import report

    found = comparison.collect(made.folder, order=list(context.targets))
    table = comparison.compare(found, published(made, context))
    comparison.write(table, made.folder)
    known = [one.result for one in found if one.result is not None]
    dataset = made.source.load(context.options)
    report.render(known, table, made.folder / f"{comparison.NAME}.html", dataset)


def published(made: Plan, context: Context) -> list[Published]:
    """The published figures of the model: the card's accuracy, and the targets' figures.

    They are of the whole COCO val2017; only there is a difference to them worth a number.
    """
    card = made.card
    whole = made.data_name == "coco" and context.options.limit is None
    rows = []
    if card.reference is not None:
        rows.append(
            Published(
                target="reference",
                title=f"{card.title}, published",
                source=card.reference.source,
                map=card.reference.map,
                comparable=whole,
            )
        )
    for name, target in context.targets.items():
        figures = target.published
        if figures is not None and figures.model == card.stem:
            rows.append(
                Published(
                    target=name,
                    title=f"{target.title}, published",
                    source=figures.source,
                    # A speed can be held against that of random weights, an accuracy cannot.
                    map=figures.map if card.seed is None else None,
                    chip_ips=figures.chip_ips,
                    device_ips=figures.device_ips,
                    comparable=whole,
                )
            )
    return rows


def _key(made: Plan, context: Context) -> str:
    package = Path(__file__).parent
    sources = [package / name for name in ("comparison.py", "update.py", "record.py")]
    found = sorted(made.folder.glob(f"*/{record.NAME}"))
    found = [path for path in found if path.is_file()]
    return digest.of_value(
        {
            "results": {path.parent.name: digest.of_file(path) for path in found},
            "published": [vars(row) for row in published(made, context)],
            "code": [digest.of_file(path) for path in sources],
            "report": digest.of_sources(package / "report", "*"),
        }
    )
