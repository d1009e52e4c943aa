"""targets.toml: every target as data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from cascadeport.cards import Number
from cascadeport.errors import CascadeportError
from cascadeport.schema import Strict, read_toml, validate
from cascadeport.suggest import suggest

LOWERINGS = ("onnxruntime", "onnxruntime-1.9", "ascend")


class Runner(Strict):
    """The bundle's runner of a target."""

    name: Literal["onnxruntime", "aclruntime"]
    provider: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class Semantics(Strict):
    """What the target's lowering may change in the model's meaning; None: as the lowering does.

    Args:
        proposals: How many proposals the RPN keeps at most.
        nms_levels: Whether NMS of proposals compares boxes `within` a pyramid level, as PyTorch
            does, or `across` all.
        nms_precision: `float32`, or `float16`: boxes and scores are rounded before NMS.
        precision: What the network computes in, where the lowering has a choice.
    """

    proposals: int | None = Field(default=None, gt=0)
    nms_levels: Literal["within", "across"] | None = None
    nms_precision: Literal["float32", "float16"] | None = None
    precision: Literal["float32", "float16"] | None = None

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


class Published(Strict):
    """Figures from elsewhere. They are shown as published, never as measured."""

    model: str
    map: Number | None = Field(default=None, ge=0, le=1)
    chip_ips: Number | None = Field(default=None, gt=0)
    device_ips: Number | None = Field(default=None, gt=0)
    source: str = Field(min_length=1)


class Target(Strict):
    """One row of targets.toml."""

    title: str
    engine: Literal["local", "docker"]
    image: str
    compose: str
    lowering: Literal["onnxruntime", "onnxruntime-1.9", "ascend"]
    model: str
    data: str
    runner: Runner
    soc: str | None = None
    semantics: Semantics = Semantics()
    published: Published | None = None


class _Targets(Strict):
    targets: Annotated[dict[str, Target], BeforeValidator(dict)]


def load(path: Path) -> dict[str, Target]:
    """Reads and validates targets.toml.

    Raises:
        CascadeportError: With every fault and its place.
    """
    values = read_toml(path, "list of targets")
    return validate(_Targets, {"targets": values}, where=str(path), what="list of targets").targets


def find(name: str, targets: dict[str, Target]) -> Target:
    """The target of a name.

    Raises:
        CascadeportError: There is none; with the nearest name.
    """
    if name not in targets:
        raise CascadeportError(
            f"There is no target named '{name}'; {suggest(name, targets)}.",
            next="TARGET= takes one of: " + ", ".join(targets),
        )
    return targets[name]
