"""The one error that reaches a user: what happened, where, and what to do next."""

from __future__ import annotations


class CascadeportError(Exception):
    """A failure that can be explained.

    Args:
        what: One sentence that says what happened.
        where: The file, key, picture or node it happened in, if there is one.
        next: What the user can do about it.
        faults: All faults found at once, each with its place, when there is more than one.
    """

    def __init__(
        self, what: str, *, where: str = "", next: str = "", faults: list[str] | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.next = next
        self.faults = faults or []
        # Set by whoever runs a plan: tells bad input from a stage that failed.
        self.started = False

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        lines.extend(f"  - {fault}" for fault in self.faults)
        if self.next:
            lines.append(f"  next:  {self.next}")
        return "\n".join(lines)
