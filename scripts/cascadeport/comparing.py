"""Keeps comparison.{json,csv,md,html} in step with the results of a model on a data set."""

from __future__ import annotations

from pathlib import Path

from cascadeport import compare, digest, results, store, targets
from cascadeport.compare import Published
from cascadeport.options import Options
from cascadeport.plan import Plan
from cascadeport.progress import Reporter

_RECORD = ".comparison.json"
_FILES = tuple(f"{compare.NAME}.{suffix}" for suffix in ("json", "csv", "md", "html"))


def update(made: Plan, options: Options, reporter: Reporter, *, again: bool = False) -> str:
    """Writes the four files if anything that they show has changed; returns the table.

    Args:
        again: Write them whether or not anything has changed.
    """
    key = _key(made, options)
    standing = store.standing(made.folder, key, _RECORD)
    if standing.current and not again:
        reporter.line("skip", f"compare and report: {standing.reason}", "dim")
    else:
        with reporter.stage("compare and report"), store.explained(made.folder):
            _write(made, options)
            files = [made.folder / name for name in _FILES]
            store.write_record(made.folder, key, files, {"stage": "compare"}, _RECORD)
    return (made.folder / f"{compare.NAME}.md").read_text(encoding="utf-8")


def _write(made: Plan, options: Options) -> None:
    from cascadeport import report

    found = compare.collect(made.folder, order=list(targets.load(options.targets)))
    table = compare.compare(found, published(made, options))
    compare.write(table, made.folder)
    known = [one.result for one in found if one.result is not None]
    dataset = made.source.load(options)
    report.render(known, table, made.folder / f"{compare.NAME}.html", dataset)


def published(made: Plan, options: Options) -> list[Published]:
    """The published figures of the model: the card's accuracy, and the targets' figures.

    They are of the whole COCO val2017; only there is a difference to them worth a number.
    """
    card = made.card
    whole = made.data_name == "coco" and options.limit is None
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
    for name, target in targets.load(options.targets).items():
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


def _key(made: Plan, options: Options) -> str:
    package = Path(__file__).parent
    sources = [package / "compare.py", package / "comparing.py", package / "results.py"]
    found = sorted(made.folder.glob(f"*/{results.NAME}"))
    return digest.of_value(
        {
            "results": {path.parent.name: digest.of_file(path) for path in found},
            "published": [vars(row) for row in published(made, options)],
            "code": [digest.of_file(path) for path in sources],
            "report": digest.of_sources(package / "report", "*"),
        }
    )
