"""The comparison as CSV for spreadsheets and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len

from cascadeport.base.text import printable
from cascadeport.results.comparison import Comparison, Row
from cascadeport.results.run_record import Statistics

NONE = "–"


def as_csv(comparison: Comparison) -> str:
    """The table for spreadsheets: a byte order mark, commas, CRLF, numbers in full precision."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    latency = ("n", "mean", "p50", "p90", "p99")
    plain = [key for key in Row.model_fields if key not in ("latency_ms", "semantics")]
    writer.writerow([*plain, *(f"latency_ms_{key}" for key in latency), "semantics"])
    for row in comparison.rows:
        statistics = row.latency_ms or Statistics(n=0)
        times = [getattr(statistics, key) if row.latency_ms else None for key in latency]
        values = [*(getattr(row, key) for key in plain), *times, "; ".join(row.semantics)]
        writer.writerow([_cell(value) for value in values])
    return "\ufeff" + out.getvalue()


def _cell(value: Any) -> Any:
    # A spreadsheet would evaluate a text that begins like a formula.
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r"):
        return f"'{value}"
    return value


def as_markdown(comparison: Comparison) -> str:
    """The table for people, followed by all remarks on its rows."""
    model, dataset = comparison.model, comparison.dataset
    title = _plain(str(model.get("title") or model.get("name") or "Comparison"))
    where = _plain(str(dataset.get("name", "")))
    if dataset.get("pictures"):
        where += f", {dataset['pictures']} pictures"
    if len(comparison.inputs) == 1:
        where += f", input {_plain(comparison.inputs[0])}"
    head = ["target", "status", "mAP", "mAP50", "mAP75", "Δ mAP, points", "pictures"]
    head += ["chip img/s"] * comparison.chips + ["device img/s", "end-to-end img/s"]
    head += ["latency mean ms", "p50", "p90", "p99"]
    rows = [_markdown_row(row, comparison.chips) for row in comparison.rows]
    widths = [
        max(3, *(cell_len(cells[column]) for cells in [head, *rows])) for column in range(len(head))
    ]
    rule = [
        "-" * width if column < 2 else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    lines = [f"# {title} on {where}" if where else f"# {title}", ""]
    lines += [_line(cells, widths) for cells in (head, rule, *rows)]
    lines += ["", *_notes(comparison)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_row(row: Row, chips: bool) -> list[str]:
    latency = row.latency_ms or Statistics(n=0)
    status = row.status.upper() if row.status == "invalid" else row.status
    return [
        _plain(row.title),
        status,
        *(number(value, 3) for value in (row.map, row.map50, row.map75)),
        points(row.delta_map),
        number(row.pictures, 0),
        *[number(row.chip_ips, 2)] * chips,
        *(number(value, 2) for value in (row.device_ips, row.end_to_end_ips)),
        *(number(getattr(latency, key), 2) for key in ("mean", "p50", "p90", "p99")),
    ]


def _notes(comparison: Comparison) -> list[str]:
    lines = []
    against = sorted({row.against for row in comparison.rows if row.against})
    for name in against:
        lines.append(f"- Δ mAP is relative to {_plain(name)}.")
    for row in comparison.rows:
        name = _plain(row.title)
        if row.status == "invalid":
            lines.append(f"- **{name} is INVALID**: {_plain(row.reason)}.".replace("..", "."))
        elif row.status == "published":
            lines.append(f"- Not measured here: {name}; from {_plain(row.reason)}")
        elif row.status == "simulated":
            lines.append(f"- {name} ran on a simulator: its accuracy counts, it has no throughput.")
        if row.input and len(comparison.inputs) > 1:
            lines.append(f"- {name}: input {_plain(row.input)}; other rows have another input")
        lines.extend(f"- {name}: {_plain(change)}" for change in row.semantics)
    return lines


def number(value: float | None, digits: int) -> str:
    """A number for a table, or a dash."""
    return NONE if value is None else f"{value:.{digits}f}"


def points(delta: float | None) -> str:
    """A difference of mAP in points (hundredths) with its sign, or a dash."""
    if delta is None:
        return NONE
    text = f"{abs(delta) * 100:.2f}"
    if float(text) == 0:
        return text
    return f"+{text}" if delta > 0 else f"−{text}"


def _plain(text: str) -> str:
    """Escapes text for Markdown: table bars, marks and line ends have no effect."""
    text = printable(" ".join(text.split()))
    for mark in "\\|`*_<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - cell_len(cell))
        padded.append(cell + space if column < 2 else space + cell)
    return f"| {' | '.join(padded)} |"
