"""What `cascadeport explain` has found about the rows, for the report."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.explain.record import Explanation, load
from cascadeport.explain.waterfall import svg
from cascadeport.results.result import Result


@dataclass(frozen=True)
class ExplanationView:
    """Why two rows differ.

    Args:
        record: The explanation.
        waterfalls: The drawings of the shares of the points, as addresses, with what they show.
        is_old: Whether a row has another accuracy by now than the one that was explained.
    """

    record: Explanation
    waterfalls: list[tuple[str, str]]
    is_old: bool


def views(folder: Path, shown: Sequence[Result]) -> list[ExplanationView]:
    """Every explanation beside the comparison whose rows are shown; unreadable ones are left out.

    Args:
        folder: results/<model>-<data>.
        shown: The results that are shown.
    """
    by_name = {result.target: result for result in shown}
    found = []
    for path in paths(folder):
        try:
            record = load(path)
        except CascadeportError:
            continue
        rows = [by_name.get(one.name) for one in (record.first, record.second)]
        if None in rows:
            continue
        is_old = any(
            row is not None and row.map != one.map
            for row, one in zip(rows, (record.first, record.second), strict=True)
        )
        found.append(ExplanationView(record, _waterfalls(record), is_old))
    return found


def paths(folder: Path) -> list[Path]:
    """The explanations beside the comparison."""
    return sorted(path for path in folder.glob("explain-*.json") if path.is_file())


def _waterfalls(record: Explanation) -> list[tuple[str, str]]:
    if record.shares is None:
        return []
    drawn = [(side.row, svg(side)) for side in (record.shares.first, record.shares.second)]
    # As an image, a drawing runs nothing, whatever its file says.
    return [
        (
            "data:image/svg+xml;base64," + base64.b64encode(text.encode("utf-8")).decode("ascii"),
            f"what each declared change of {row} costs, in points",
        )
        for row, text in drawn
        if text
    ]
