"""The comparison as CSV for spreadsheets and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from cascadeport.base.text import printable
from cascadeport.results import columns, notes
from cascadeport.results.columns import Column
from cascadeport.results.comparison import Comparison, Row
from cascadeport.results.run_record import Statistics

# Lists and tables, which a cell cannot hold.
_LISTS = ("semantics", "remarks")
_NESTED = ("latency_ms", *_LISTS, "checks")


def as_csv(comparison: Comparison) -> str:
    """The table for spreadsheets: a byte order mark, commas, CRLF, numbers in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    latency = ("n", "mean", "p50", "p90", "p99")
    plain = [key for key in Row.model_fields if key not in _NESTED]
    writer.writerow([*plain, *(f"latency_ms_{key}" for key in latency), *_LISTS])
    for row in comparison.rows:
        statistics = row.latency_ms or Statistics(n=0)
        times = [getattr(statistics, key) if row.latency_ms else None for key in latency]
        said = ["; ".join(getattr(row, key)) for key in _LISTS]
        values = [*(getattr(row, key) for key in plain), *times, *said]
        writer.writerow([_cell(value) for value in values])
    return "\ufeff" + out.getvalue()


def _cell(value: Any) -> Any:
    # A spreadsheet would evaluate a text that begins like a formula.
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r"):
        return f"'{value}"
    return value


def as_markdown(comparison: Comparison) -> str:
    """The table for people, followed by all remarks on its rows."""
    lines = [f"# {plain(columns.title(comparison))}", "", *markdown_table(comparison)]
    return "\n".join([*lines, *markdown_notes(comparison)]).rstrip() + "\n"


def markdown_table(comparison: Comparison) -> list[str]:
    """The lines of the table itself."""
    shown = columns.of(comparison)
    head = [plain(column.name) for column in shown]
    rows = [[plain(column.cell(row)) for column in shown] for row in comparison.rows]
    widths = [
        max(3, *(cell_len(cells[place]) for cells in [head, *rows])) for place in range(len(head))
    ]
    rule = [
        "-" * (width - 1) + ":" if column.is_number else "-" * width
        for column, width in zip(shown, widths, strict=True)
    ]
    return [_line(cells, widths, shown) for cells in (head, rule, *rows)]


def markdown_notes(comparison: Comparison) -> list[str]:
    """The lines of the remarks, an empty one before each group."""
    lines = []
    for note in notes.of(comparison):
        if note.about:
            lines += ["", f"**{'; '.join(map(plain, note.about))}**"]
        lines += ["", *(f"- {plain(sentence)}" for sentence in note.sentences)]
    return lines


def plain(text: str) -> str:
    """Escapes text for Markdown: table bars, marks and line ends have no effect."""
    text = printable(" ".join(text.split()))
    for mark in "\\|`*_<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text


def _line(cells: Sequence[str], widths: Sequence[int], shown: Sequence[Column]) -> str:
    padded = []
    for cell, width, column in zip(cells, widths, shown, strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(space + cell if column.is_number else cell + space)
    return f"| {' | '.join(padded)} |"
