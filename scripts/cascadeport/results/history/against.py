"""A comparison held against an earlier one: what is worse, and whether somebody expected it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cascadeport.results.history.expected import Judged


@dataclass(frozen=True)
class Against:
    """What changed since an earlier comparison.

    Args:
        name: What the earlier one is called.
        judged: What changed.
    """

    name: str
    judged: Judged

    def is_worse(self, row: str) -> bool:
        """Whether something of a row is worse without a reason."""
        return any(change.row == row for change in self.judged.worse)

    def lines(self) -> Iterator[tuple[str, str]]:
        """What changed, a mark and a sentence each; what nobody expected comes first."""
        for change in self.judged.worse:
            yield "WORSE", change.sentence
        for change, reason in self.judged.known:
            yield "expected", f"{change.sentence}; {reason}"
        for change in self.judged.others:
            yield change.kind, change.sentence
        for one in self.judged.idle:
            what = " ".join(filter(None, [one.row, one.cell, one.change]))
            yield "idle", f"expected, but it did not happen: {what}; {one.reason}"
        if not self.judged.worse:
            yield "no worse", f"nothing is missing or worse than in {self.name} without a reason"
