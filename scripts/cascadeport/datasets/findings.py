"""Collects everything that is wrong with a data set, so that it can be told at once."""

from __future__ import annotations

from cascadeport.base.errors import CascadeportError

MOST = 20
"""Faults that are listed one by one; the others are counted."""


class Findings:
    """Faults stop; warnings of one kind are counted and told as one sentence."""

    def __init__(self) -> None:
        self._faults: list[str] = []
        self._count = 0
        self._warnings: dict[str, tuple[int, str]] = {}

    def fault(self, place: str, what: str) -> None:
        """Notes something that stops."""
        self._count += 1
        if self._count <= MOST:
            self._faults.append(f"{place}: {what}")

    def warn(self, sentence: str, place: str = "") -> None:
        """Notes something that does not stop.

        Args:
            sentence: What was found; `{n}` in it becomes how many times.
            place: Where; the first one is told.
        """
        count, first = self._warnings.get(sentence, (0, place))
        self._warnings[sentence] = (count + 1, first)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each kind of warning, in the order of their first occurrence."""
        return tuple(
            sentence.format(n=count) + (f" (first: {first})" if first else "")
            for sentence, (count, first) in self._warnings.items()
        )

    def stop(self, what: str, *, where: str, next: str) -> None:
        """Ends the reading if there was any fault.

        Raises:
            CascadeportError: With the first faults and the number of the others.
        """
        if not self._count:
            return
        faults = list(self._faults)
        if self._count > len(faults):
            faults.append(f"... and {self._count - len(faults)} more")
        number = "1 fault" if self._count == 1 else f"{self._count} faults"
        raise CascadeportError(f"{what} has {number}.", where=where, details=faults, next=next)
