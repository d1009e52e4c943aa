"""A lowering: from the neutral graph to the operators of one runtime, pure ONNX to ONNX.

Each backend has its own lowerings; this is what they share.
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
from cascadeport.graph.batching import for_pictures
from cascadeport.graph.editing import EditableGraph, save
from cascadeport.graph.malformed import explained
from cascadeport.graph.neutral import load_neutral
from cascadeport.graph.passes import fold_constants
from cascadeport.graph.reshaping import Clip, for_any_shape, for_gears, for_shape, telling
from cascadeport.graph.semantics import limit_proposals, merge_levels, round_before_nms
from cascadeport.graph.uint8 import normalise_inside

RECORD = "lowering.json"
"""The file beside a lowered graph: see `Lowered.record`."""


@dataclass(frozen=True)
class LoweringRequest:
    """What a lowering is to do.

    Args:
        dtype: `float32` (normalised by the host) or `uint8` (normalised inside).
        mean: For uint8, in the network's channel order.
        std: Likewise.
        proposals: How many proposals the RPN may keep. None: the lowering's default.
        across_levels: Whether NMS of proposals compares boxes of all pyramid levels. None: the
            lowering's default.
        half_nms: Whether NMS sees boxes and scores in float16. None: the lowering's default.
        precision: `float32` or `float16`, what the network computes in. None: float32, or what a
            later step chooses.
        shape: Rows and columns of the input. None: as exported.
        any_shape: Whether rows and columns stay open, for one network that takes every shape.
        pictures: How many pictures the network takes at once.
        clip: What boxes are clipped to inside a network for every shape: its `input`, or the
            `picture` in it, as mmdet does.
        gears: The shapes that the input may have, for a compiler that makes one program for each.
    """

    dtype: str = "float32"
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    proposals: int | None = None
    across_levels: bool | None = None
    half_nms: bool | None = None
    precision: str | None = None
    shape: tuple[int, int] | None = None
    any_shape: bool = False
    clip: Clip = "input"
    pictures: int = 1
    gears: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Lowered:
    """A lowered graph.

    Attributes:
        path: The ONNX file.
        lowering: The lowering's name.
        opset: The opset of its operators.
        outputs: Names of the outputs, boxes first.
        changes: What differs in meaning from PyTorch, in sentences for the table.
        facts: What the backend's later steps need to know about the graph (JSON).
    """

    path: Path
    lowering: str
    opset: int
    outputs: tuple[str, ...]
    changes: list[str] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """The content of the file beside the graph."""
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
        name: Its name in plans, folders and results.
        proposals: The default number of proposals that the RPN keeps; None: as exported.
        across_levels: Whether NMS of proposals compares boxes of all pyramid levels by default.
        any_shape: Whether its runtime takes a network whose rows and columns are open.
        several: Whether its networks may take several pictures at once.
        gears: Whether its runtime takes a network of several shapes that are known beforehand.
    """

    name: str
    proposals: int | None = None
    across_levels: bool = False
    any_shape: bool = False
    several: bool = False
    gears: bool = False

    def check(self, request: LoweringRequest) -> None:  # noqa: B027 - a hook
        """Checks a request before anything is done.

        Raises:
            CascadeportError: The runtime cannot do what is requested.
        """

    def round_before_nms(self, graph: EditableGraph) -> list[str]:
        """Rounds the inputs of every NMS to float16; returns what that changes."""
        return round_before_nms(graph)

    def normalise(self, graph: EditableGraph, mean: Sequence[float], std: Sequence[float]) -> None:
        """Changes the graph's input to uint8, normalised inside."""
        normalise_inside(graph, mean, std)

    @abstractmethod
    def rewrite(
        self, graph: EditableGraph, request: LoweringRequest, changes: list[str]
    ) -> onnx.ModelProto:
        """Rewrites to the runtime's operators; appends to `changes` what they change."""

    def facts(self, model: onnx.ModelProto, request: LoweringRequest) -> Mapping[str, Any]:
        """What the backend's later steps need to know about the lowered graph (JSON)."""
        return {}

    def lower(self, neutral: Path, out: Path, request: LoweringRequest | None = None) -> Lowered:
        """Rewrites a neutral graph.

        Args:
            neutral: The exporter's graph.
            out: The file to write.
            request: What else is requested.

        Raises:
            CascadeportError: The graph is not neutral, or the request cannot be fulfilled.
        """
        request = request or LoweringRequest()
        _check(request)
        self.check(request)
        if (request.any_shape and not self.any_shape) or (request.gears and not self.gears):
            raise CascadeportError(
                f"The lowering '{self.name}' makes networks of one shape each.",
                next="Give it shapes: SHAPES=HxW,… or SHAPES=auto:N.",
            )
        if request.pictures > 1 and not self.several:
            raise CascadeportError(
                f"The lowering '{self.name}' makes networks of one picture each.",
                where=f"--batch {request.pictures}",
                next="Leave --batch out.",
            )
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

    def _lowered(
        self, neutral: Path, request: LoweringRequest, changes: list[str]
    ) -> onnx.ModelProto:
        graph = EditableGraph(load_neutral(neutral))
        changes += limit_proposals(graph, request.proposals or self.proposals)
        across = self.across_levels if request.across_levels is None else request.across_levels
        changes += merge_levels(graph, across)
        if request.any_shape:
            channel = telling(request.mean or ()) if request.clip == "picture" else 0
            for_any_shape(graph, request.clip, channel)
        elif request.gears:
            for_gears(graph, request.gears)
        elif request.shape is not None:
            for_shape(graph, request.shape)
        if request.half_nms:
            changes += self.round_before_nms(graph)
        if request.dtype == "uint8" and request.mean is not None and request.std is not None:
            self.normalise(graph, request.mean, request.std)
            changes.append("normalised inside the network; padding is the rounded mean, nearly 0")
        if request.pictures > 1:
            fold_constants(graph)
            for_pictures(graph, request.pictures)
        return self.rewrite(graph, request, changes)


def refuse_precision(lowering: Lowering, request: LoweringRequest, remedy: str) -> None:
    """Checks that no precision is requested, for lowerings without that choice.

    Args:
        remedy: What to do instead.

    Raises:
        CascadeportError: A precision is requested.
    """
    if request.precision is not None:
        raise CascadeportError(
            f"The lowering '{lowering.name}' has no choice of precision.",
            where=f"--precision {request.precision}",
            next=remedy,
        )


def _check(request: LoweringRequest) -> None:
    if request.dtype not in ("float32", "uint8"):
        raise CascadeportError(
            f"Unknown input type {request.dtype!r}.", next="Known: float32, uint8."
        )
    if request.dtype == "uint8" and (request.mean is None or request.std is None):
        raise CascadeportError("A uint8 input needs the mean and std for its normalisation.")
    if request.clip == "picture" and (not request.any_shape or request.dtype != "float32"):
        raise CascadeportError(
            "Only a network for every shape with a float32 input can clip boxes to the picture.",
            where=f"input.dtype = {request.dtype}",
            next="Use fixed shapes (SHAPES=HxW,… or SHAPES=auto:N).",
        )
    if request.proposals is not None and request.proposals < 1:
        raise CascadeportError(
            f"{request.proposals} proposals were requested; the minimum is 1.",
            where=f"--proposals {request.proposals}",
        )
