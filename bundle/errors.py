"""Errors that explain themselves, and the exception that a signal raises."""

from __future__ import annotations


class BundleError(Exception):
    """An error that explains itself.

    Args:
        what: One sentence: what happened.
        where: The file, key, picture or output that it is about, if any.
        next: What the user can do about it.
    """

    def __init__(self, what: str, where: str = "", next: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next = next

    def __str__(self) -> str:
        return "\n".join(line for line in (self.what, self.where, self.next) if line)


class PictureError(BundleError):
    """One picture cannot be used. With `keep_going` it is skipped, counted and listed."""


class Interrupted(BaseException):
    """A signal asked the process to stop. `exit_code` is 128 + the signal's number."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.exit_code = 128 + signal_number


def explain(failure: Exception, memory: str, bug: str) -> BundleError:
    """The error that a program ends with, whatever ended it.

    Args:
        failure: What was raised; one that explains itself stays as it is.
        memory: What to do about too little memory.
        bug: What to do about anything that nobody expected.
    """
    if isinstance(failure, BundleError):
        return failure
    if isinstance(failure, MemoryError):
        return BundleError("Out of memory.", "", memory)
    return BundleError("Internal error: {}: {}".format(type(failure).__name__, failure), "", bug)
