"""Renders the template and writes the page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from cascadeport.base.files import write_text
from cascadeport.datasets import Dataset
from cascadeport.report import accuracy, drifts, explanations, frontier, timing, view
from cascadeport.results import intervals
from cascadeport.results.comparison import Comparison
from cascadeport.results.drift import Drifts
from cascadeport.results.numbers import brief, number, points
from cascadeport.results.result import Result

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Beside:
    """What the page shows besides results and table.

    Args:
        drift: How the rows' detections differ.
        statements: The state of each row's signed statement, by target.
    """

    drift: Drifts | None = None
    statements: Mapping[str, str] = field(default_factory=dict)


def render(
    results: Sequence[Result],
    comparison: Comparison,
    out: Path,
    dataset: Dataset | None,
    beside: Beside | None = None,
) -> None:
    """Writes the report, one self-contained file; equal results give equal bytes.

    Args:
        results: The readable results, in the order of the table.
        comparison: The table.
        out: The page's path.
        dataset: The data set with the pictures; None: no pictures are shown.
        beside: What else there is; drawings are beside the page.
    """
    beside = beside or Beside()
    shown, aside = view.split(results, comparison.rows)
    drawn, without = view.shown_pictures(shown, dataset)
    categories, absent = view.categories(shown)
    script = (_FOLDER / "page.js").read_text(encoding="utf-8")
    page = (
        _environment()
        .get_template("page.html.j2")
        .render(
            script=script,
            script_digest=_digest(script),
            comparison=comparison,
            rows=comparison.rows,
            chips=comparison.chips,
            headline=view.headline(comparison),
            results=results,
            shown=shown,
            aside=aside,
            pictures=drawn,
            without_pictures=without,
            score_threshold=view.SCORE_THRESHOLD,
            categories=categories,
            absent=absent,
            sizes=accuracy.by_size(shown, dataset),
            accuracies=accuracy.by_category(shown, dataset),
            fewest=intervals.FEWEST_PICTURES,
            judged=[row for row in comparison.rows if row.status != "published"],
            ratios=any(row.published_ratio for row in comparison.rows),
            curves=[("0.50", view.overall(shown, "iou50")), ("0.75", view.overall(shown, "iou75"))],
            steps=view.steps(shown),
            histograms=view.histograms(shown),
            timing=timing.lines(shown),
            conditions=timing.conditions(shown),
            drifts=drifts.views(beside.drift.drifts if beside.drift else [], shown, out.parent),
            explanations=explanations.views(out.parent, shown),
            frontier=frontier.view(out.parent),
            statements=beside.statements,
            environment=view.environment(shown),
            digests=view.digests(shown),
        )
    )
    write_text(out, page)


def _digest(script: str) -> str:
    """The digest by which the page's policy knows its one script; any other is not run."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        # Names of pictures and classes are data: they must not become markup.
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    environment.filters["points"] = points
    environment.filters["brief"] = brief
    return environment
