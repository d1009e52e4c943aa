"""An explanation for a terminal, or plain for a pipe: sentences, tables and a waterfall."""

from __future__ import annotations

import sys
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cascadeport.base.text import shown
from cascadeport.explain.record import Explanation, Shares, Side, Tensor
from cascadeport.explain.sentences import kind, percent, points
from cascadeport.explain.waterfall import Bar, bars

_PIPE_WIDTH = 160
_CHART = 30
#: More operators that make errors than this are shown by stage and type.
_SHOWN = 20
_STYLES = {"made": "bold red", "inherited": "yellow", "same": "green", "not compared": "dim"}
_VERDICTS = {
    "made": "made here",
    "inherited": "inherited",
    "same": "within noise",
    "not compared": "not compared",
}


def write(record: Explanation, stream: TextIO | None = None) -> None:
    """Prints an explanation to standard output."""
    out = stream or sys.stdout
    console = Console(file=out, highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console = Console(file=out, highlight=False, width=_PIPE_WIDTH, color_system=None)
    _Printer(console).print(record)


class _Printer:
    """Prints to one console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.box = box.SIMPLE_HEAD if console.is_terminal else box.MARKDOWN

    def print(self, record: Explanation) -> None:
        """Prints the whole explanation."""
        for sentence in record.sentences:
            self._line(sentence, "bold")
        self._line("")
        self._facts(record)
        self._anchors(record)
        self._makers(record)
        self._shares(record)
        for note in [*record.tensors.notes, *record.notes]:
            self._line(f"note: {note}", "yellow")

    def _line(self, text: str, style: str = "") -> None:
        self.console.print(Text(shown(text), style=style))

    def _facts(self, record: Explanation) -> None:
        picture = record.picture
        self._line(f"picture  {picture.id} ({picture.file}): {picture.why}")
        for row in (record.first, record.second):
            value = "no mAP" if row.map is None else f"mAP {row.map:.4f}"
            self._line(f"{row.name:<8} {row.title}, {row.status}, {value}; {row.runs_as}")

    def _table(self, title: str, columns: list[tuple[str, bool]]) -> Table:
        self._line("")
        self._line(title, "bold")
        table = Table(box=self.box, pad_edge=False, show_edge=self.box is box.MARKDOWN)
        for name, is_number in columns:
            table.add_column(name, justify="right" if is_number else "left", overflow="fold")
        return table

    def _anchors(self, record: Explanation) -> None:
        if not record.tensors.anchors:
            return
        names = [("stage", False), ("tensor", False), ("value", False), ("difference", True)]
        names += [("noise", True), ("", False), ("own error", True)]
        title = "Stage by stage: differences as shares of a tensor's size, and with equal inputs"
        table = self._table(title, names)
        for one in record.tensors.anchors:
            if one.what == "labels":
                continue
            table.add_row(
                _text(one.stage),
                _text(one.what),
                _text(one.value),
                _text(_size(one, one.difference)),
                _text(percent(one.noise)),
                _text(_VERDICTS[one.verdict], _STYLES[one.verdict]),
                _text(percent(one.own)),
            )
        self.console.print(table)

    def _makers(self, record: Explanation) -> None:
        makers = record.tensors.makers
        if len(makers) > _SHOWN:
            self._kinds(makers)
        elif makers:
            self._each(makers)

    def _kinds(self, makers: list[Tensor]) -> None:
        """Many makers: by stage and type of operator, with the one that is worst."""
        groups: dict[tuple[str, str], list[Tensor]] = {}
        for one in makers:
            groups.setdefault((one.stage, kind(one)), []).append(one)
        names = [("stage", False), ("operators", False), ("", True), ("largest own error", True)]
        names += [("times its noise", True), ("at", False)]
        table = self._table("Who makes errors from equal inputs; the JSON file has each", names)
        for (stage, operator), found in groups.items():
            worst = max(found, key=lambda one: one.own or 0.0)
            table.add_row(
                _text(stage),
                _text(operator),
                _text(str(len(found))),
                _text(percent(worst.own)),
                _text(f"{worst.times:,.0f}" if worst.times else ""),
                _text(worst.value),
            )
        self.console.print(table)

    def _each(self, makers: list[Tensor]) -> None:
        names = [("stage", False), ("value", False), ("operator", False), ("own error", True)]
        names += [("noise", True), ("times", True), ("", False)]
        table = self._table("Who makes errors from equal inputs", names)
        for one in makers:
            table.add_row(
                _text(one.stage),
                _text(one.value),
                _text(one.operator),
                _text(percent(one.own)),
                _text(percent(one.own_noise)),
                _text(f"{one.times:,.0f}" if one.times else ""),
                _text(one.reason),
            )
        self.console.print(table)

    def _shares(self, record: Explanation) -> None:
        shares = record.shares
        if shares is None:
            self._line("")
            self._line(f"Shares of points: {record.shares_reason}")
            return
        for side in (shares.first, shares.second):
            if side.steps:
                self._side(side, shares)

    def _side(self, side: Side, shares: Shares) -> None:
        where = (
            f"all {shares.of}" if shares.pictures == shares.of else f"the first {shares.pictures}"
        )
        names = [("change", False), ("mAP", True), ("points", True), ("", False)]
        title = f"What each change of {side.row} costs alone, on {where} pictures"
        table = self._table(title, names)
        for one in bars(side):
            table.add_row(
                _text(one.title),
                _text("" if one.map is None else f"{one.map:.4f}"),
                _text("" if one.points is None else points(one.points)),
                _text(_drawn(one), _colour(one)),
            )
        self.console.print(table)


def _colour(one: Bar) -> str:
    if one.is_total:
        return "dim"
    return "red" if (one.points or 0) < 0 else "green"


def _drawn(one: Bar) -> str:
    """One bar of the waterfall in characters."""
    start, end = sorted((round(one.start * _CHART), round(one.end * _CHART)))
    if one.is_total:
        return "█" * max(1, end)
    return " " * start + ("▓" * (end - start) or "│")


def _size(one: Tensor, value: float | None) -> str:
    if value is None:
        return one.reason or ""
    strays = one.reason.split(" boxes")[0] if " boxes" in one.reason else ""
    return percent(value) + (f", {strays} boxes apart" if strays else "")


def _text(value: str, style: str = "") -> Text:
    return Text(shown(value), style=style)
