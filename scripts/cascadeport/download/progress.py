"""The progress of a download."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Receives (bytes done, bytes in total or 0 where it is not known, what is transferred)."""

_MB = 1_000_000
_STEP = 1 << 20


def megabytes(update: Callable[[int, int, str], None]) -> Progress:
    """Makes a Progress of a reporter that counts things: it counts megabytes."""

    def report(done: int, total: int, phase: str) -> None:
        known = -(-total // _MB) if total else done // _MB + 1
        finished = total and done >= total
        update(known if finished else done // _MB, known, f"{phase}, MB")

    return report


class Meter:
    """Passes on progress at every megabyte and at the end, not at every block.

    Args:
        progress: Receives the progress; None: nobody.
        phase: What is transferred.
        total: Bytes in total; 0 where it is not known.
    """

    def __init__(self, progress: Progress | None, phase: str, total: int) -> None:
        self._progress = progress
        self._phase = phase
        self._reported = -_STEP
        self.total = total

    def update(self, done: int) -> None:
        """Reports how many bytes are done."""
        if self._progress is None:
            return
        moved = done - self._reported
        if moved >= _STEP or moved < 0 or (self.total and done >= self.total):
            self._reported = done
            self._progress(done, self.total, self._phase)
