"""Follows what a command prints: lines to its log, events to whoever shows them."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

from cascadeport.base.errors import CascadeportError
from cascadeport.core.task import Event, Task

Chunk = tuple[bytes | None, bytes | None]
"""What came next on standard output and on standard error."""


def follow(
    stream: Iterable[Chunk], task: Task, on_event: Callable[[Event], None]
) -> Mapping[str, Any] | None:
    """Reads a command's output to its end; returns its error event, if there is one.

    Args:
        stream: The output, in chunks of any size.
        task: Its log receives every line; its deadline says how long it may be silent.
        on_event: Receives every other event.

    Raises:
        CascadeportError: The command printed nothing for longer than the deadline.
    """
    chunks: queue.Queue[Chunk | BaseException | None] = queue.Queue()

    def read() -> None:
        try:
            for chunk in stream:
                chunks.put(chunk)
            chunks.put(None)
        except BaseException as error:
            chunks.put(error)

    threading.Thread(target=read, daemon=True).start()
    failure: Mapping[str, Any] | None = None
    with task.log.open("wb") as log:
        lines = _Lines(log)
        while True:
            try:
                chunk = chunks.get(timeout=task.deadline_s)
            except queue.Empty:
                raise CascadeportError(
                    f"The command of stage {task.stage} printed nothing for "
                    f"{task.deadline_s:.0f} s and was stopped.",
                    where=f"its log: {task.log}",
                    next="See whether the device hangs or the machine is overloaded; then run the "
                    "same command again.",
                ) from None
            if isinstance(chunk, BaseException):
                raise chunk
            for line in lines.add(*chunk) if chunk is not None else lines.end():
                event = parse_event(line)
                if event is not None and event["event"] == "error":
                    failure = event
                elif event is not None:
                    on_event(event)
            if chunk is None:
                return failure


def parse_event(line: bytes) -> Mapping[str, Any] | None:
    """The event in a line of output, or None when the line is something else."""
    if not line.startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "event" in value else None


def tail(task: Task) -> str:
    """The last lines of a task's log."""
    text = task.log.read_text(encoding="utf-8", errors="replace").strip()
    return " | ".join(text.splitlines()[-3:]) or "(it printed nothing)"


class _Lines:
    """Joins chunks of both streams to lines, writes them to the log, returns those of stdout."""

    def __init__(self, log: IO[bytes]) -> None:
        self._log = log
        self._open = {"out": b"", "err": b""}

    def add(self, out: bytes | None, err: bytes | None) -> list[bytes]:
        complete = {}
        for name, chunk in (("out", out), ("err", err)):
            *lines, self._open[name] = (self._open[name] + (chunk or b"")).split(b"\n")
            complete[name] = lines
            for line in lines:
                self._log.write(line + b"\n")
        self._log.flush()
        return complete["out"]

    def end(self) -> list[bytes]:
        """Writes what came without a line end; returns standard output's."""
        for rest in self._open.values():
            self._log.write(rest)
        self._log.flush()
        return [self._open["out"]]
