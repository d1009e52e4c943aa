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
