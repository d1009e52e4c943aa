"""The errors that reach a user: what happened, where, and what to do next; and the exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from cascadeport.base.text import shown


class ExitCode(IntEnum):
    """Every code that a command ends with. docs/command-line.md is generated from these."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Gives a code its meaning."""
        code = int.__new__(cls, value)
        code._value_ = value
        code.meaning = meaning
        return code

    OK = 0, "done; every result of this run is valid and good enough, as far as that was asked"
    INTERNAL = 1, "internal error: a bug in Cascadeport; `--debug` shows the traceback"
    INPUT = 2, "bad input: an option, a card, a data set, a host; nothing was started"
    STAGE = 3, "a stage failed; finished stages are kept, and the same command continues from there"
    INVALID = 4, "the run ended, and its result is INVALID; the table says why"
    OUTPUT = 5, "the output could not be written; finished stages are kept"
    FAILED = 6, "the run ended, and a result is not good enough: FAIL; the table says why"
    UNDECIDED = 7, "the run ended, and nothing tells whether a result is good enough: UNDECIDED"
    UNVERIFIED = 8, "what was verified is not what was signed; every difference is named"
    REGRESSED = 9, "something is missing or worse than in the earlier run, without a reason"
    HANGUP = 129, "stopped by SIGHUP; finished stages are kept"
    INTERRUPTED = 130, "stopped by Ctrl-C; finished stages are kept"
    BROKEN_PIPE = 141, "nobody reads standard output any more"
    TERMINATED = 143, "stopped by SIGTERM; finished stages are kept"


class CascadeportError(Exception):
    """A failure that can be explained: bad input, unless a subclass says otherwise.

    Args:
        what: One sentence that says what happened.
        where: The file, key, picture or node it happened in, if there is one.
        next: What the user can do about it.
        details: Every finding, each with its location, when there is more than one.
    """

    exit_code = ExitCode.INPUT

    def __init__(
        self, what: str, *, where: str = "", next: str = "", details: Sequence[str] = ()
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next = next
        self.details = list(details)

    def __str__(self) -> str:
        """All of it on lines of its own, safe for a terminal and without credentials."""
        lines = [shown(self.what)]
        if self.where:
            lines.append(f"  where: {shown(self.where)}")
        lines.extend(f"  - {shown(detail)}" for detail in self.details)
        if self.next:
            lines.append(f"  next:  {shown(self.next)}")
        return "\n".join(lines)


class StageError(CascadeportError):
    """A stage failed after the run had started. Finished stages are kept."""

    exit_code = ExitCode.STAGE

    @classmethod
    def of(cls, error: CascadeportError) -> CascadeportError:
        """The same error as that of a stage; one that already has a code of its own keeps it."""
        if error.exit_code != ExitCode.INPUT:
            return error
        return cls(error.what, where=error.where, next=error.next, details=error.details)
