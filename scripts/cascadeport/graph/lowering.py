"""One neutral graph, one lowering per runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from ..errors import CascadeportError
from . import onnxruntime, standard
from .editing import Graph, save
from .neutral import load_neutral
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
    """

    path: Path
    target: str
    opset: int
    outputs: tuple[str, ...]
    changes: list[str] = field(default_factory=list)


def lower(
    neutral: Path,
    out: Path,
    target: str,
    *,
    input_dtype: str = "float32",
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Lowering:
    """Rewrites a neutral graph for a target.

    Args:
        neutral: The exporter's graph.
        out: The file to write.
        target: One of `LOWERINGS`.
        input_dtype: `float32` (normalised by the host) or `uint8` (normalised inside).
        mean: For uint8, in the network's channel order.
        std: Likewise.
    """
    graph = Graph(load_neutral(neutral))
    rules: dict[str, Callable[[Graph], onnx.ModelProto]] = {
        "onnxruntime": onnxruntime.lower,
        "onnxruntime-1.9": standard.lower,
    }
    if target not in rules:
        raise CascadeportError(
            f"There is no lowering {target!r}.", next=f"Known: {', '.join(LOWERINGS)}."
        )
    if input_dtype not in ("float32", "uint8"):
        raise CascadeportError(
            f"There is no input type {input_dtype!r}.", next="Known: float32, uint8."
        )
    if input_dtype == "uint8":
        if mean is None or std is None:
            raise CascadeportError("A uint8 input needs the mean and std to normalise with.")
        normalise_inside(graph, mean, std)
    model = rules[target](graph)
    save(model, out)
    opset = model.opset_import[0].version
    return Lowering(out, target, opset, tuple(value.name for value in model.graph.output))
