"""Collects everything that is wrong with a data set, so that it is reported at once."""

from __future__ import annotations

from cascadeport.base.errors import CascadeportError

MOST = 20
"""Errors that are listed one by one; the others are counted."""


class Findings:
    """Errors end the reading; warnings of one kind are counted and become one sentence."""

    def __init__(self) -> None:
        self._errors: list[str] = []
        self._count = 0
        self._warnings: dict[str, tuple[int, str]] = {}

    def error(self, where: str, what: str) -> None:
        """Notes an error, e.g. at `images[3]`."""
        self._count += 1
        if self._count <= MOST:
            self._errors.append(f"{where}: {what}")

    def warn(self, sentence: str, where: str = "") -> None:
        """Notes a warning.

        Args:
            sentence: What was found; `{n}` in it becomes how many times.
            where: Its location; the first one is shown.
        """
        count, first = self._warnings.get(sentence, (0, where))
        self._warnings[sentence] = (count + 1, first)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each kind of warning, in the order of their first occurrence."""
        return tuple(
            sentence.replace("{n}", str(count)) + (f" (first: {first})" if first else "")
            for sentence, (count, first) in self._warnings.items()
        )

    def stop(self, what: str, *, where: str, next: str) -> None:
        """Ends the reading if there was any error.

        Raises:
            CascadeportError: With the first errors and the number of the others.
        """
        if not self._count:
            return
        errors = list(self._errors)
        if self._count > len(errors):
            errors.append(f"... and {self._count - len(errors)} more")
        number = "1 error" if self._count == 1 else f"{self._count} errors"
        raise CascadeportError(f"{what} has {number}.", where=where, details=errors, next=next)
