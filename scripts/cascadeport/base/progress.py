"""Progress: a bar with rate and time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from cascadeport.base.text import shown

_LINE_EVERY_S = 5.0


class _Rate(ProgressColumn):
    """Pictures per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "", style="progress.data.speed")


class Reporter:
    """Tells the user what happens. One per command.

    Args:
        stream: Where to write; bars are drawn only when it is a terminal.
        prefix: Put before every line, e.g. the target's name when several run side by side.
    """

    def __init__(self, stream: TextIO | None = None, prefix: str = "") -> None:
        self._console = Console(file=stream or sys.stderr, highlight=False, soft_wrap=True)
        self._prefix = f"{prefix} " if prefix else ""
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._began = 0.0
        self._spoke = 0.0

    @property
    def terminal(self) -> bool:
        """Whether bars are drawn."""
        return self._console.is_terminal

    def line(self, mark: str, text: str, style: str = "") -> None:
        """Writes one line: a mark of at most eight letters, and a text."""
        self._console.print(Text(shown(f"{self._prefix}{mark:<8} {text}"), style=style))

    def note(self, text: str) -> None:
        """Writes something worth knowing that stops nothing."""
        self.line("note", text, "yellow")

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Frames one stage: its title before, bars during."""
        self.line("run", title, "bold")
        self._tasks = {}
        self._began = self._spoke = time.monotonic()
        if not self.terminal:
            yield
            return
        columns = (
            TextColumn("{task.description:>12}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as self._progress:
            try:
                yield
            finally:
                self._progress = None

    def update(self, done: int, total: int, phase: str = "pictures") -> None:
        """Says how far the stage is.

        Args:
            done: How many of `total` are finished.
            phase: What is counted; each phase has a bar of its own.
        """
        phase = shown(phase)
        if self._progress is not None:
            if phase not in self._tasks:
                self._tasks[phase] = self._progress.add_task(phase, total=total)
            self._progress.update(self._tasks[phase], completed=done, total=total)
            return
        now = time.monotonic()
        if phase not in self._tasks:
            self._tasks[phase] = TaskID(0)
            self._began = now
        if done < total and now - self._spoke < _LINE_EVERY_S:
            return
        self._spoke = now
        spent = now - self._began
        text = f"{phase}: {done}/{total}"
        if done and spent > 1:
            rate = done / spent
            text += f", {rate:.1f}/s, {(total - done) / rate:.0f} s left"
        self.line("", text)

    def event(self, event: Mapping[str, Any]) -> None:
        """Passes on an event of the bundle; anything else is ignored."""
        if event.get("event") == "progress":
            done, total = event.get("done"), event.get("total")
            if isinstance(done, int) and isinstance(total, int):
                self.update(done, total, str(event.get("phase", "pictures")))
        elif event.get("event") == "note":
            self.note(str(event.get("text", "")))
