"""targets.toml: every target as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cascadeport.base.errors import CascadeportError
from cascadeport.base.suggest import suggest
from cascadeport.config.gate import Gate
from cascadeport.config.schema import Strict, counted, read_toml, validate


class Semantics(Strict):
    """What the target's lowering may change in the model's meaning; None: as the lowering does.

    Args:
        proposals: How many proposals the RPN keeps at most.
        nms_levels: Whether NMS of proposals compares boxes `within` a pyramid level, as PyTorch
            does, or `across` all.
        nms_precision: `float32`, or `float16`: boxes and scores are rounded before NMS.
        precision: What the network computes in, where the lowering or a tool that quantises has a
            choice.
    """

    proposals: int | None = Field(default=None, gt=0)
    nms_levels: Literal["within", "across"] | None = None
    nms_precision: Literal["float32", "float16"] | None = None
    precision: Literal["float32", "float16", "int8"] | None = None

    def overridden(self, other: Semantics) -> Semantics:
        """These, but what `other` says."""
        said = {key: value for key, value in other.model_dump().items() if value is not None}
        return self.model_copy(update=said)

    @property
    def name(self) -> str:
        """What is said, for the names of folders; empty when nothing is."""
        parts = [
            f"proposals{self.proposals}" if self.proposals else "",
            f"levels-{self.nms_levels}" if self.nms_levels else "",
            f"nms-{self.nms_precision}" if self.nms_precision else "",
            self.precision or "",
        ]
        return "-".join(part for part in parts if part)

    @property
    def title(self) -> str:
        """What is said, for people; empty when nothing is."""
        parts = [
            f"{self.proposals} proposals" if self.proposals else "",
            f"proposals {self.nms_levels} levels" if self.nms_levels else "",
            f"NMS in {self.nms_precision}" if self.nms_precision else "",
            self.precision or "",
        ]
        return ", ".join(part for part in parts if part)


class Target(Strict):
    """One row of targets.toml: what every target has. Its backend's own keys are in a subclass.

    Args:
        title: How tables name it.
        backend: A folder below scripts/cascadeport/backends/: its family of devices.
        engine: Where its commands run unless the user says otherwise.
        image: A folder below images/.
        compose: A file below compose/.
        model: The card that is run unless the user names another.
        data: The data set, likewise; a card may name its own.
        semantics: What its lowering changes in the model's meaning.
        gate: What is good enough on this target, where the card's gate is not.
    """

    title: str = Field(min_length=1)
    backend: str
    engine: Literal["local", "docker"]
    image: str
    compose: str
    model: str
    data: str
    semantics: Semantics = Semantics()
    gate: Gate | None = None


def load(path: Path, row: Callable[[str], type[Target]]) -> dict[str, Target]:
    """Reads and validates targets.toml.

    Args:
        path: The file.
        row: The schema of a backend's rows, by the backend's name.

    Raises:
        CascadeportError: With every error and its location.
    """
    targets: dict[str, Target] = {}
    details: list[str] = []
    for name, values in read_toml(path, "list of targets").items():
        try:
            targets[name] = _row(name, values, row)
        except CascadeportError as error:
            details += [f"{name}.{detail}" for detail in error.details or [error.what]]
    if details:
        raise CascadeportError(
            f"The list of targets has {counted(details)}.",
            where=str(path),
            details=details,
            next="docs/add-a-target.md lists the keys of a row.",
        )
    return targets


def _row(name: str, values: Any, row: Callable[[str], type[Target]]) -> Target:
    if not isinstance(values, dict):
        raise CascadeportError("", details=["it is not a table: write [NAME] above its keys"])
    backend = values.get("backend")
    if not isinstance(backend, str):
        raise CascadeportError("", details=["backend: missing, or not a name"])
    return validate(row(backend), values, where=name, what="target")


def selected(name: str | None, targets: Mapping[str, Target]) -> list[Target]:
    """The target of a name; without one, all of them.

    Raises:
        CascadeportError: There is no such target.
    """
    return list(targets.values()) if name is None else [find(name, targets)]


def find(name: str, targets: Mapping[str, Target]) -> Target:
    """The target of a name.

    Raises:
        CascadeportError: There is no such target; the message has the nearest name.
    """
    if name not in targets:
        raise CascadeportError(
            f"There is no target named '{name}'; {suggest(name, targets)}.",
            next="--target takes one of: " + ", ".join(targets),
        )
    return targets[name]


def of_row(row: str, targets: Mapping[str, Target]) -> str | None:
    """The name of a row's target: rows of variants begin with it (`cpu-docker`); None: no target's.

    Args:
        row: The name of a row, as tables and shipments have it.
    """
    found = [name for name in targets if row == name or row.startswith(f"{name}-")]
    return max(found, key=len, default=None)
