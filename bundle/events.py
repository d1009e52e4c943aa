"""The events on standard output: JSON lines, and nothing else."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Optional, TextIO

from bundle.errors import BundleError

# Often enough for a progress bar, and a fast network does not flood its reader.
_SECONDS_BETWEEN_PROGRESS = 0.1


_stream: Optional[TextIO] = None


def claim_standard_output() -> None:
    """Reserves standard output for events. What runtimes print there goes to standard error."""
    global _stream
    sys.stdout.flush()
    _stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def emit(event: str, **fields: Any) -> None:
    """Writes one event. It is ASCII, so that it works in a container without a locale."""
    stream = _stream or sys.stdout
    stream.write(json.dumps(dict({"event": event}, **fields)) + "\n")
    stream.flush()


def note(text: str) -> None:
    """Tells the user something that is not an error."""
    emit("note", text=text)


def error(failure: BundleError) -> None:
    """Tells the user why the bundle stops."""
    emit("error", what=failure.what, where=failure.where, next=failure.next)


class Progress:
    """Counts the steps of a phase. Emits the first and last count, and up to ten a second between.

    Args:
        phase: The name of the phase.
        total: How many steps it has.
    """

    def __init__(self, phase: str, total: int) -> None:
        self._phase = phase
        self._total = total
        self._done = 0
        self._last_emitted = 0.0
        self._emit()

    def step(self) -> None:
        """Counts one more step."""
        self._done += 1
        due = time.monotonic() - self._last_emitted >= _SECONDS_BETWEEN_PROGRESS
        if due or self._done == self._total:
            self._emit()

    def _emit(self) -> None:
        self._last_emitted = time.monotonic()
        emit("progress", phase=self._phase, done=self._done, total=self._total)
