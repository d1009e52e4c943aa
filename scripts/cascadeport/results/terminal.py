"""The comparison on a terminal: as many columns as fit, the others below their row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.text import Text

from cascadeport.results import columns, notes
from cascadeport.results.columns import Column
from cascadeport.results.comparison import Comparison, Row
from cascadeport.results.numbers import NONE

_GAP = 2
_INDENT = 2
_NARROWEST_TITLE = 18
# Of the terminal's own palette: readable on dark and on light. Every colour has a word beside it.
_STYLES = {
    "PASS": "bold green",
    "FAIL": "bold red",
    "UNDECIDED": "bold magenta",
    "INVALID": "bold red",
    "simulated": "cyan",
    "published": "dim",
}


@dataclass(frozen=True)
class TerminalTable:
    """A comparison, for rich to print at any width."""

    comparison: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Everything from the title to the last note."""
        width = options.max_width
        yield Text(columns.title(self.comparison), style="bold")
        yield Text()
        yield from _table(self.comparison, width, "-" if options.ascii_only else "─")
        for note in notes.of(self.comparison):
            yield Text()
            if note.about:
                yield Text("; ".join(note.about), style="bold")
            for sentence in note.sentences:
                yield Padding(_said(sentence), (0, 0, 0, _INDENT if note.about else 0))


def _said(sentence: str) -> Text:
    text = Text(sentence)
    word = sentence.split(":", 1)[0]
    if word in _STYLES:
        text.stylize(_STYLES[word], 0, len(word))
    return text


def _table(comparison: Comparison, width: int, line: str) -> Iterator[Text]:
    title, *others = columns.of(comparison)
    rows = comparison.rows
    widths = {column.name: _width(column, rows) for column in others}
    wanted = _width(title, rows)
    shown = _fitting(others, widths, width - min(wanted, _NARROWEST_TITLE))
    below = [column for column in others if column not in shown]
    taken = sum(widths[column.name] + _GAP for column in shown)
    title_width = max(min(wanted, width - taken), min(wanted, _NARROWEST_TITLE))
    lines = max(len(column.head) for column in (title, *shown))
    for number in range(lines):
        cells = [_head(column, number, lines) for column in (title, *shown)]
        yield _line(cells, (title, *shown), [title_width, *(widths[c.name] for c in shown)], "bold")
    yield Text(line * (title_width + taken), style="dim")
    for row in rows:
        yield from _row(row, title, shown, below, title_width, widths, width)


def _fitting(others: Sequence[Column], widths: dict[str, int], room: int) -> list[Column]:
    """The columns that fit, in their order: the most important ones come first."""
    chosen = set()
    for column in sorted(others, key=lambda column: column.rank):
        room -= widths[column.name] + _GAP
        if room < 0:
            break
        chosen.add(column.name)
    return [column for column in others if column.name in chosen]


def _row(
    row: Row,
    title: Column,
    shown: Sequence[Column],
    below: Sequence[Column],
    title_width: int,
    widths: dict[str, int],
    width: int,
) -> Iterator[Text]:
    first, *rest = _wrapped(title.cell(row), title_width)
    cells = [first, *(column.cell(row) for column in shown)]
    yield _line(cells, (title, *shown), [title_width, *(widths[c.name] for c in shown)])
    for more in rest:
        yield Text(more)
    found = [(column, column.cell(row)) for column in below]
    parts = [f"{column.name} {cell}" for column, cell in found if cell != NONE]
    for text in _joined(parts, max(width - _INDENT, 1)):
        yield Text(" " * _INDENT + text, style="dim")


def _wrapped(text: str, width: int) -> list[str]:
    console = Console(width=width)
    return [line.plain.rstrip() for line in Text(text).wrap(console, width)] or [""]


def _joined(parts: Sequence[str], width: int) -> Iterator[str]:
    """Lines of parts, none of which is broken."""
    line = ""
    for part in parts:
        longer = f"{line} · {part}" if line else part
        if line and cell_len(longer) > width:
            yield line
            longer = part
        line = longer
    if line:
        yield line


def _width(column: Column, rows: Sequence[Row]) -> int:
    return max(cell_len(text) for text in (*column.head, *(column.cell(row) for row in rows)))


def _head(column: Column, number: int, lines: int) -> str:
    # Names end at the bottom, beside the cells.
    missing = lines - len(column.head)
    return column.head[number - missing] if number >= missing else ""


def _line(
    cells: Sequence[str], shown: Sequence[Column], widths: Sequence[int], style: str = ""
) -> Text:
    text = Text(style=style)
    for place, (cell, column, width) in enumerate(zip(cells, shown, widths, strict=True)):
        space = " " * (width - cell_len(cell))
        text.append(" " * (_GAP if place else 0))
        text.append(space if column.is_number else "")
        text.append(cell, style=_STYLES.get(cell, "") if place else "")
        text.append("" if column.is_number else space)
    text.rstrip()
    return text
