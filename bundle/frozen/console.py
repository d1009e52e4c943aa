"""What commands say: results on standard output, everything else on standard error."""

from __future__ import annotations

import os
import sys
import time
from typing import Optional, TextIO

_output: Optional[TextIO] = None
_SECONDS_ON_TERMINAL = 0.2
_SECONDS_IN_LOG = 10.0


def claim_standard_output() -> None:
    """Reserves standard output for `say`. What runtimes print there goes to standard error."""
    global _output
    sys.stdout.flush()
    _output = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="backslashreplace")
    os.dup2(2, 1)


def say(text: str) -> None:
    """Writes a result to standard output."""
    stream = _output or sys.stdout
    stream.write(_harmless(text) + "\n")
    stream.flush()


def note(text: str) -> None:
    """Writes a remark to standard error."""
    sys.stderr.write(_harmless(text) + "\n")
    sys.stderr.flush()


def _harmless(text: str) -> str:
    """The text without what a terminal would obey: names of files can be anything."""
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)


class Progress:
    """Says how far a pass is: often on a terminal, every ten seconds in a log.

    Args:
        what: What is counted, such as `pictures`.
        total: How many there are.
        done: How many were done before.
    """

    def __init__(self, what: str, total: int, done: int = 0) -> None:
        self._what = what
        self._total = total
        self._done = self._before = done
        self._start = self._last = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def step(self) -> None:
        """Counts one more."""
        self._done += 1
        now = time.monotonic()
        wait = _SECONDS_ON_TERMINAL if self._terminal else _SECONDS_IN_LOG
        last = self._done == self._total
        if now - self._last >= wait or (last and self._terminal):
            self._last = now
            end = "\n" if last or not self._terminal else "\r"
            sys.stderr.write(self._text(now) + end)
            sys.stderr.flush()

    def _text(self, now: float) -> str:
        text = "{} of {} {}".format(self._done, self._total, self._what)
        elapsed = now - self._start
        if self._done > self._before and elapsed > 0:
            rate = (self._done - self._before) / elapsed
            left = (self._total - self._done) / rate
            text += ", {:.1f} per second, {} left   ".format(rate, _duration(left))
        return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return "{} h {} min".format(hours, minutes)
    return "{} min {} s".format(minutes, rest) if minutes else "{} s".format(rest)
