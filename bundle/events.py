"""What the bundle says on standard output: JSON lines, and nothing else."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from bundle.errors import BundleError

# A bar needs no more, and a fast network must not drown its reader.
_SECONDS_BETWEEN_PROGRESS = 0.1


def emit(event: str, **fields: Any) -> None:
    """Writes one event. ASCII only, so that a container without a locale can say it too."""
    sys.stdout.write(json.dumps(dict({"event": event}, **fields)) + "\n")
    sys.stdout.flush()


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
