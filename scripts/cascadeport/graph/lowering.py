"""One neutral graph, one lowering per runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from ..errors import CascadeportError
from . import ascend, onnxruntime, standard
from .editing import Graph, save
from .half import halve
from .neutral import load_neutral
from .semantics import limit_proposals, merge_levels, round_before_nms
from .uint8 import normalise_inside

#: What each lowering is called in targets.toml.
LOWERINGS = ("onnxruntime", "onnxruntime-1.9", "ascend")


@dataclass(frozen=True)
class Lowering:
    """A lowered graph.

    Attributes:
        path: The ONNX file.
        target: The lowering's name.
        opset: The opset of its operators.
        outputs: Names of the outputs, boxes first.
        changes: What means something else than in PyTorch, in sentences for the table.
        atc: For Ascend, what `atc` has to be told; None otherwise.
    """

    path: Path
    target: str
    opset: int
    outputs: tuple[str, ...]
    changes: list[str] = field(default_factory=list)
    atc: ascend.Atc | None = None


def lower(
    neutral: Path,
    out: Path,
    target: str,
    *,
    input_dtype: str = "float32",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    proposals: int | None = None,
    across_levels: bool | None = None,
    half_nms: bool | None = None,
    precision: str | None = None,
) -> Lowering:
    """Rewrites a neutral graph for a target.

    Args:
        neutral: The exporter's graph.
        out: The file to write.
        target: One of `LOWERINGS`.
        input_dtype: `float32` (normalised by the host) or `uint8` (normalised inside).
        mean: For uint8, in the network's channel order.
        std: Likewise.
        proposals: How many proposals the RPN may keep. None: as
            many as the model was exported with; on Ascend, 500.
        across_levels: Whether NMS of proposals compares boxes of all pyramid levels. None: it
            does not, as in PyTorch; on Ascend it does.
        half_nms: Whether NMS sees boxes and scores in float16. None: it does not, as in PyTorch;
            on Ascend it must, because its operator takes nothing else.
        precision: `float32` or `float16`, what the network computes in. None: float32; on Ascend
            it is atc's `--precision_mode`.

    Raises:
        CascadeportError: The graph is not neutral, or asks for what the target cannot do.
    """
    if target not in LOWERINGS:
        raise CascadeportError(
            f"There is no lowering {target!r}.", next=f"Known: {', '.join(LOWERINGS)}."
        )
    if input_dtype not in ("float32", "uint8"):
        raise CascadeportError(
            f"There is no input type {input_dtype!r}.", next="Known: float32, uint8."
        )
    if input_dtype == "uint8" and (mean is None or std is None):
        raise CascadeportError("A uint8 input needs the mean and std to normalise with.")
    on_ascend = target == "ascend"
    if on_ascend and half_nms is False:
        raise CascadeportError(
            "NMS in float32 was asked for, and CANN's BatchMultiClassNMS takes float16 only.",
            next="Leave NMS_PRECISION= out on Ascend targets.",
        )
    if precision is not None and target != "onnxruntime":
        raise CascadeportError(
            f"The lowering '{target}' has no choice of precision.",
            where=f"PRECISION={precision}",
            next="On Ascend it is atc's: precision_mode in the target's runner options."
            if on_ascend
            else "Use an onnxruntime of 1.32 or later, or leave PRECISION= out.",
        )
    graph = Graph(load_neutral(neutral))
    changes = limit_proposals(graph, ascend.PROPOSALS if on_ascend and not proposals else proposals)
    changes += merge_levels(graph, on_ascend if across_levels is None else across_levels)
    if half_nms and not on_ascend:
        changes += round_before_nms(graph)
    aipp = None
    if input_dtype == "uint8" and mean is not None and std is not None:
        if on_ascend:
            sides = [s.dim_value for s in graph.model.graph.input[0].type.tensor_type.shape.dim]
            aipp = ascend.aipp(sides[2], sides[3], list(mean), list(std))
        else:
            normalise_inside(graph, mean, std)
        changes.append("normalised inside the network; padding is the rounded mean, nearly 0")

    def for_onnxruntime(graph: Graph) -> onnx.ModelProto:
        lowered = onnxruntime.rewritten(graph)
        if precision == "float16":
            changes.extend(halve(lowered))
        return onnxruntime.finish(lowered)

    rules: dict[str, Callable[[Graph], onnx.ModelProto]] = {
        "onnxruntime": for_onnxruntime,
        "onnxruntime-1.9": standard.lower,
        "ascend": ascend.lower,
    }
    model = rules[target](graph)
    save(model, out)
    return Lowering(
        path=out,
        target=target,
        opset=model.opset_import[0].version,
        outputs=tuple(value.name for value in model.graph.output),
        changes=changes + (ascend.CHANGES if on_ascend else []),
        atc=ascend.describe(model, aipp) if on_ascend else None,
    )
