"""What the bundle says on standard output: JSON lines, and nothing else."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Optional, TextIO

from bundle.errors import BundleError

# A bar needs no more, and a fast network must not drown its reader.
_SECONDS_BETWEEN_PROGRESS = 0.1


_own: Optional[TextIO] = None


def claim_standard_output() -> None:
    """Keeps standard output for events: what runtimes print there goes to standard error."""
    global _own
    sys.stdout.flush()
    _own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def emit(event: str, **fields: Any) -> None:
    """Writes one event. ASCII only, so that a container without a locale can say it too."""
    stream = _own or sys.stdout
    stream.write(json.dumps(dict({"event": event}, **fields)) + "\n")
    stream.flush()


def note(text: str) -> None:
    """Tells the user something that is no error."""
    emit("note", text=text)


def error(failure: BundleError) -> None:
    """Tells the user why the bundle stops."""
    emit("error", what=failure.what, where=failure.where, next=failure.next)


class Progress:
    """Counts one phase. The first and the last count are always told, others a few per second."""

    def __init__(self, phase: str, total: int) -> None:
        self._phase = phase
        self._total = total
        self._done = 0
        self._told = 0.0
        self._tell()

    def step(self) -> None:
        """One more is done."""
        self._done += 1
        late = time.monotonic() - self._told >= _SECONDS_BETWEEN_PROGRESS
        if late or self._done == self._total:
            self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        emit("progress", phase=self._phase, done=self._done, total=self._total)
