"""May this run be frozen? And if it is all the same: what everything has to say about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cascadeport.base.errors import CascadeportError
from cascadeport.base.text import printable
from cascadeport.results.comparison import Row

SIGNED = "signed by "
"""How the state of a statement begins that holds."""
Name = Literal["simulated", "forced"]


@dataclass(frozen=True)
class Label:
    """Why an image is not what it could be taken for.

    Args:
        name: `simulated`: made on a stand-in for hardware; `forced`: frozen although it should not
            have been.
        reason: A sentence.
    """

    name: Name
    reason: str

    def facts(self) -> dict[str, str]:
        """As files say it."""
        return {"name": self.name, "reason": self.reason}


def of(row: Row, statement: str) -> tuple[Label, ...]:
    """The labels of a run; empty for one that may be frozen.

    Args:
        row: Its row of the table, computed.
        statement: The state of its statement: `unsigned`, `signed by …`, `invalid: …`.
    """
    found: list[Label] = []
    if row.status == "simulated":
        found.append(
            Label("simulated", "The run was made on a stand-in for the hardware; it has no speed.")
        )
    elif row.status != "measured":
        found.append(Label("forced", _sentence(f"The run is INVALID: {row.reason}")))
    # Of an INVALID run the gate says nothing else.
    if row.verdict == "fail" and row.status != "invalid":
        found.append(Label("forced", _sentence(f"The run failed its gate: {row.verdict_reason}")))
    elif row.verdict == "undecided":
        found.append(
            Label("forced", _sentence(f"The run's gate is undecided: {row.verdict_reason}"))
        )
    if statement == "unsigned":
        found.append(Label("forced", "Nobody signed the run."))
    elif not statement.startswith(SIGNED):
        found.append(Label("forced", _sentence(f"The run's statement is {statement}")))
    return tuple(found)


def require(labels: Sequence[Label], *, forced: bool, where: str) -> None:
    """Refuses a run that has labels, unless the user insists.

    Args:
        forced: Whether the user insists.
        where: The run's folder.

    Raises:
        CascadeportError: It has labels and nobody insists.
    """
    if not labels or forced:
        return
    unsigned = any("Nobody signed" in label.reason for label in labels)
    sign = "Give your key to sign it: --key ~/.ssh/id_ed25519. " if unsigned else ""
    raise CascadeportError(
        "This run is not fit to be frozen.",
        where=where,
        details=[label.reason for label in labels],
        next=f"{sign}--force freezes it all the same; the image, its answers, its page and its tag "
        "then say so for ever.",
    )


def suffix(labels: Sequence[Label]) -> str:
    """What the version of such an image ends with: a tag is read more often than a document."""
    names = {label.name for label in labels}
    return "".join(f"-{name}" for name in ("simulated", "forced") if name in names)


def of_image(labels: Sequence[Label]) -> dict[str, str]:
    """The same as labels of the image."""
    found: dict[str, str] = {}
    for name in ("simulated", "forced"):
        reasons = [label.reason for label in labels if label.name == name]
        if reasons:
            found[f"io.cascadeport.{name}"] = " ".join(reasons)
    return found


def facts(labels: Sequence[Label]) -> list[dict[str, Any]]:
    """The labels as files say them."""
    return [label.facts() for label in labels]


def _sentence(text: str) -> str:
    # A reason may name files, whose names may hold anything; scripts and terminals show it.
    return printable(text).rstrip(". ") + "."
