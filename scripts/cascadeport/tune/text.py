"""The frontier for a terminal, or plain for a pipe: a chart of letters, a table, and sentences."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TextIO

from rich import box
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from cascadeport.base.text import shown as printable
from cascadeport.results.numbers import NONE, number, points
from cascadeport.tune import scale
from cascadeport.tune.record import Frontier, PointRecord, Ratio, Span

_PIPE_WIDTH = 160
_ROWS, _WIDEST = 17, 84
_AXIS = 9
_MARKS = {"reference": "■", "within": "●", "undecided": "◆", "beyond": "○", "failed": "△"}
_PLAIN = {"reference": "R", "within": "o", "undecided": "?", "beyond": "x", "failed": "f"}
_STYLES = {
    "reference": "bold",
    "within": "green",
    "undecided": "magenta",
    "beyond": "red",
    "failed": "bold red",
    "skipped": "dim",
}
_CHOSEN = "bold green"


@dataclass(frozen=True)
class _Column:
    """A column of the table, and the width of a terminal from which on it is shown."""

    name: str
    is_number: bool
    least: int = 0


_WHY = _Column("why", False, 140)
_COLUMNS = (
    _Column("", True),
    _Column("recipe", False),
    _Column("status", False),
    _Column("mAP", True, 90),
    _Column("points", True),
    _Column("interval", True, 78),
    _Column("img/s", True),
    _Column("times", True, 90),
    _Column("pictures", True, 100),
    _WHY,
)


def write(
    found: Frontier, stream: TextIO | None = None, worded: Callable[[str], str] = str
) -> None:
    """Prints what a search found to standard output.

    Args:
        found: Its record.
        stream: Where to, instead.
        worded: Puts messages into the language of the door that the user came in by.
    """
    out = stream or sys.stdout
    console = Console(file=out, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(
            file=out, highlight=False, emoji=False, width=_PIPE_WIDTH, color_system=None
        )
    _Printer(console, worded).print(found)


class _Printer:
    """Prints to one console."""

    def __init__(self, console: Console, worded: Callable[[str], str] = str) -> None:
        self._console = console
        self._worded = worded
        self._marks = _PLAIN if console.options.ascii_only else _MARKS

    def print(self, found: Frontier) -> None:
        """Prints all of it."""
        self._line("")
        self._line(f"{found.model} on {found.data}: accuracy against speed", "bold")
        self._line("")
        for line in self._chart(found):
            self._console.print(line)
        self._table(found)
        for reason in found.left_out:
            self._line(f"not varied: {self._worded(reason)}", "dim")
        self._line("")
        for sentence in found.sentences:
            self._line(sentence, "bold")
        if found.chosen is not None:
            # In one line, however long, so that it can be copied.
            self._line(found.chosen.command, _CHOSEN, wrap=False)

    def _line(self, text: str, style: str = "", *, wrap: bool = True) -> None:
        # In a pipe, who reads it wraps it.
        soft = not wrap or not self._console.is_terminal
        self._console.print(Text(printable(text), style=style), soft_wrap=soft)

    # --- the chart

    def _chart(self, found: Frontier) -> Iterator[Text]:
        listed = scale.drawn(found)
        x, y = scale.speeds(listed), scale.differences(found, listed)
        if x is None:
            return
        width = min(_WIDEST, self._console.width - _AXIS - 2)
        if width < 20:
            return
        plain = self._console.options.ascii_only
        cells = [[(" ", "")] * width for _ in range(_ROWS)]

        def row(delta: float) -> int:
            return round((1 - y.share(delta)) * (_ROWS - 1))

        limit = row(-found.budget)
        cells[limit] = [("-" if plain else "╌", "red")] * width
        for one in reversed(listed):
            pace = scale.pace(one)
            if pace is None or one.delta is None:
                continue
            column = round(x.share(pace) * (width - 1))
            if one.difference is not None:
                for at in range(row(100 * one.difference.high), row(100 * one.difference.low) + 1):
                    cells[at][column] = ("|" if plain else "│", _STYLES[one.status])
        for place, one in reversed(list(enumerate(listed, start=1))):
            pace = scale.pace(one)
            if pace is None or one.delta is None:
                continue
            column, at = round(x.share(pace) * (width - 1)), row(100 * one.delta)
            style = _CHOSEN if _is_chosen(found, one) else _STYLES[one.status]
            cells[at][column] = (self._marks[one.status], style)
            self._number(cells[at], column, place, style)
        labels = {row(tick): points(tick / 100) for tick in y.ticks}
        labels[limit] = points(-found.budget / 100)
        yield Text("points of mAP from the reference", style="dim")
        for at, line in enumerate(cells):
            text = Text(f"{labels.get(at, ''):>{_AXIS - 2}} " + ("|" if plain else "┤"), "dim")
            for letter, style in line:
                text.append(letter, style=style or "none")
            text.rstrip()
            yield text
        axis = ["-" if plain else "─"] * width
        under = [" "] * (width + 8)
        for tick in x.ticks:
            column = round(x.share(tick) * (width - 1))
            axis[column] = "+" if plain else "┴"
            under[column : column + len(f"{tick:g}")] = f"{tick:g}"
        corner = "+" if plain else "└"
        yield Text(" " * (_AXIS - 1) + corner + "".join(axis), "dim")
        numbers = "".join(under).rstrip()
        unit = f"times the reference's {number(found.reference.ips, 2)} img/s on the device"
        if len(numbers) + 2 + len(unit) <= self._console.width - _AXIS:
            yield Text(f"{' ' * _AXIS}{numbers}  {unit}", "dim")
        else:
            yield Text(" " * _AXIS + numbers, "dim")
            yield Text(f"{unit:>{width + _AXIS}}", "dim")
        kinds = dict.fromkeys(one.status for one in listed)
        legend = Text(" " * _AXIS)
        for status, mark in self._marks.items():
            if status in kinds:
                legend.append(f"{mark} {status}   ", style=_STYLES[status])
        yield legend

    def _number(self, line: list[tuple[str, str]], column: int, place: int, style: str) -> None:
        """Writes a point's number beside it, where nothing else is."""
        text = str(place)
        free = (" ", "╌", "-", "│", "|")
        for start in (column + 1, column - len(text)):
            if start >= 0 and start + len(text) <= len(line):
                covered = line[start : start + len(text)]
                if all(letter in free for letter, _ in covered):
                    line[start : start + len(text)] = [(letter, style) for letter in text]
                    return

    # --- the table

    def _table(self, found: Frontier) -> None:
        is_terminal = self._console.is_terminal
        style = box.SIMPLE_HEAD if is_terminal else box.MARKDOWN
        table = Table(box=style, pad_edge=False, show_edge=style is box.MARKDOWN)
        shown = [one for one in _COLUMNS if self._console.width >= one.least]
        for column in shown:
            justify: JustifyMethod = "right" if column.is_number else "left"
            table.add_column(
                column.name, justify=justify, overflow="fold", no_wrap=column.is_number
            )
        listed = scale.drawn(found)
        others = _gathered([one for one in found.points if one not in listed])
        for place, one in enumerate([*listed, *others], start=1):
            cells = self._cells(found, str(place) if place <= len(listed) else "", one)
            table.add_row(*(cells[each.name] for each in shown), style=_style(found, one))
        self._line("")
        self._console.print(table)
        if _WHY not in shown:
            for one in [*listed, *others]:
                if _why(one):
                    self._line(f"{one.title}: {_why(one)}", "dim")

    def _cells(self, found: Frontier, place: str, one: PointRecord) -> dict[str, str]:
        status = "chosen" if _is_chosen(found, one) else one.status
        return {
            "": place,
            "recipe": printable(one.title),
            "status": f"simulated, {status}" if one.simulated else status,
            "mAP": number(one.map, 4),
            "points": points(one.delta),
            "interval": _span(one.difference),
            "img/s": number(one.ips, 2),
            "times": _times(one.speed),
            "pictures": str(one.pictures or NONE),
            _WHY.name: printable(_why(one)),
        }


def _gathered(points: list[PointRecord]) -> list[PointRecord]:
    """Points that were skipped for one reason, as one: the first, and how many more there are."""
    groups: dict[tuple[str, str], list[PointRecord]] = {}
    for one in points:
        alone = one.title if one.status != "skipped" else ""
        groups.setdefault((one.reason, alone), []).append(one)
    return [
        first.model_copy(update={"title": f"{first.title} and {len(more)} more"}) if more else first
        for first, *more in groups.values()
    ]


def _why(one: PointRecord) -> str:
    reason = one.reason if one.status in ("skipped", "failed") else ""
    return "; ".join(filter(None, (reason, one.note)))


def _is_chosen(found: Frontier, one: PointRecord) -> bool:
    return found.chosen is not None and found.points[found.chosen.point] is one


def _style(found: Frontier, one: PointRecord) -> str:
    return _CHOSEN if _is_chosen(found, one) else _STYLES[one.status]


def _span(span: Span | None) -> str:
    return NONE if span is None else f"{points(span.low)} to {points(span.high)}"


def _times(ratio: Ratio | None) -> str:
    return NONE if ratio is None else f"{ratio.ratio:.2f}"
