"""The program's events on standard output, and its errors."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

_stream: TextIO | None = None


class ToolError(Exception):
    """What happened, where, and what to do next, as `CascadeportError` has them."""

    def __init__(self, what: str, where: str, next: str) -> None:
        super().__init__(what)
        self.what, self.where, self.next = what, where, next


def claim_standard_output() -> None:
    """Reserves standard output for events; what the tools print goes to standard error."""
    global _stream
    sys.stdout.flush()
    _stream = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)


def emit(event: str, **fields: Any) -> None:
    """Writes one event."""
    stream = _stream or sys.stdout
    stream.write(json.dumps({"event": event, **fields}) + "\n")
    stream.flush()


def progress(phase: str, done: int, total: int) -> None:
    """Says how far a phase is."""
    emit("progress", phase=phase, done=done, total=total)
