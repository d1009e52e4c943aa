"""A lowering: from the neutral graph to the operators of one runtime, pure ONNX to ONNX.

Every backend brings its own; what they share stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors
from cascadeport.graph.editing import Graph, save
from cascadeport.graph.malformed import explained
from cascadeport.graph.neutral import load_neutral
from cascadeport.graph.semantics import limit_proposals, merge_levels, round_before_nms
from cascadeport.graph.uint8 import normalise_inside

RECORD = "lowering.json"
"""What stands beside a lowered graph: see `Lowered.record`."""


@dataclass(frozen=True)
class Request:
    """What is asked of a lowering.

    Args:
        dtype: `float32` (normalised by the host) or `uint8` (normalised inside).
        mean: For uint8, in the network's channel order.
        std: Likewise.
        proposals: How many proposals the RPN may keep. None: the lowering's own number.
        across_levels: Whether NMS of proposals compares boxes of all pyramid levels. None: as the
            lowering does.
        half_nms: Whether NMS sees boxes and scores in float16. None: as the lowering does.
        precision: `float32` or `float16`, what the network computes in. None: float32, or what
            another step decides.
    """

    dtype: str = "float32"
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    proposals: int | None = None
    across_levels: bool | None = None
    half_nms: bool | None = None
    precision: str | None = None


@dataclass(frozen=True)
class Lowered:
    """A lowered graph.

    Attributes:
        path: The ONNX file.
        lowering: The lowering's name.
        opset: The opset of its operators.
        outputs: Names of the outputs, boxes first.
        changes: What means something else than in PyTorch, in sentences for the table.
        facts: What the backend's later steps need to know of the graph (JSON).
    """

    path: Path
    lowering: str
    opset: int
    outputs: tuple[str, ...]
    changes: list[str] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """What is written beside the graph."""
        return {
            "format": 1,
            "lowering": self.lowering,
            "opset": self.opset,
            "changes": self.changes,
            "facts": dict(self.facts),
        }


class Lowering(ABC):
    """Rewrites neutral graphs for one runtime.

    Attributes:
        name: How plans, folders and results call it.
        proposals: How many proposals the RPN keeps unless asked; None: as many as the model was
            exported with.
        across_levels: Whether NMS of proposals compares boxes of all pyramid levels unless asked.
    """

    name: str
    proposals: int | None = None
    across_levels: bool = False

    def refuse(self, request: Request) -> None:  # noqa: B027 - a hook
        """Looks at a request before anything is done.

        Raises:
            CascadeportError: It asks for what the runtime cannot do.
        """

    def round_before_nms(self, graph: Graph) -> list[str]:
        """Makes NMS see float16; returns what that changes."""
        return round_before_nms(graph)

    def normalise(self, graph: Graph, mean: Sequence[float], std: Sequence[float]) -> None:
        """Makes the graph take bytes."""
        normalise_inside(graph, mean, std)

    @abstractmethod
    def rewrite(self, graph: Graph, request: Request, changes: list[str]) -> onnx.ModelProto:
        """Puts the runtime's operators in place; appends to `changes` what they change."""

    def facts(self, model: onnx.ModelProto, request: Request) -> Mapping[str, Any]:
        """What the backend's later steps need to know of the lowered graph (JSON)."""
        return {}

    def lower(self, neutral: Path, out: Path, request: Request | None = None) -> Lowered:
        """Rewrites a neutral graph.

        Args:
            neutral: The exporter's graph.
            out: The file to write.
            request: What else is asked for.

        Raises:
            CascadeportError: The graph is not neutral, or what is asked for cannot be done.
        """
        request = request or Request()
        _check(request)
        self.refuse(request)
        changes: list[str] = []
        with explained("The neutral graph cannot be lowered", str(neutral)):
            model = self._lowered(neutral, request, changes)
        with disk_errors(out):
            save(model, out)
        return Lowered(
            path=out,
            lowering=self.name,
            opset=model.opset_import[0].version,
            outputs=tuple(value.name for value in model.graph.output),
            changes=changes,
            facts=self.facts(model, request),
        )

    def _lowered(self, neutral: Path, request: Request, changes: list[str]) -> onnx.ModelProto:
        graph = Graph(load_neutral(neutral))
        changes += limit_proposals(graph, request.proposals or self.proposals)
        across = self.across_levels if request.across_levels is None else request.across_levels
        changes += merge_levels(graph, across)
        if request.half_nms:
            changes += self.round_before_nms(graph)
        if request.dtype == "uint8" and request.mean is not None and request.std is not None:
            self.normalise(graph, request.mean, request.std)
            changes.append("normalised inside the network; padding is the rounded mean, nearly 0")
        return self.rewrite(graph, request, changes)


def refuse_precision(lowering: Lowering, request: Request, remedy: str) -> None:
    """Refuses a choice of precision, for lowerings that have none.

    Raises:
        CascadeportError: There is one.
    """
    if request.precision is not None:
        raise CascadeportError(
            f"The lowering '{lowering.name}' has no choice of precision.",
            where=f"--precision {request.precision}",
            next=remedy,
        )


def _check(request: Request) -> None:
    if request.dtype not in ("float32", "uint8"):
        raise CascadeportError(
            f"There is no input type {request.dtype!r}.", next="Known: float32, uint8."
        )
    if request.dtype == "uint8" and (request.mean is None or request.std is None):
        raise CascadeportError("A uint8 input needs the mean and std to normalise with.")
    if request.proposals is not None and request.proposals < 1:
        raise CascadeportError(
            f"{request.proposals} proposals were asked for; one is the least.",
            where=f"--proposals {request.proposals}",
        )
