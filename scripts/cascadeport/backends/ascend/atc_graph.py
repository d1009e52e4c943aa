"""What `atc` needs of every graph, and its arguments that depend on the graph.

One opset import, no domain, fixed shapes; it handles names of letters, digits and underscores
reliably.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from cascadeport.backends.ascend.onnx_plugins import check
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.opset19 import set_opset

OPSET = 11


@dataclass(frozen=True)
class AtcArguments:
    """The arguments of `atc` that depend on the graph.

    Attributes:
        input_shape: For `--input_shape`.
        out_nodes: For `--out_nodes`, boxes first, as `node:output`.
        aipp: Content of the file for `--insert_op_conf`; None for float32 input.
        dynamic_image_size: For `--dynamic_image_size`: the sizes of the input, its gears; empty
            for an input of one size.
    """

    input_shape: str
    out_nodes: str
    aipp: str | None = None
    dynamic_image_size: str = ""


def finish(graph: EditableGraph, shapes: Sequence[Sequence[int]]) -> onnx.ModelProto:
    """The model of a rewritten graph, checked as atc would.

    Args:
        graph: All of its operators are known to atc.
        shapes: Those of its outputs.

    Raises:
        CascadeportError: atc would not accept it.
    """
    _plain_names(graph)
    model = graph.to_model()
    set_opset(model, OPSET)
    for value, shape in zip(model.graph.output, shapes, strict=True):
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, list(shape)))
    check(model)
    return model


def describe(
    model: onnx.ModelProto, aipp: str | None = None, gears: Sequence[Sequence[int]] = ()
) -> AtcArguments:
    """The arguments of `atc` for a graph."""
    value = model.graph.input[0]
    # An open side is -1 to atc.
    sides = [side.dim_value or -1 for side in value.type.tensor_type.shape.dim]
    producers = {
        name: f"{node.name}:{index}"
        for node in model.graph.node
        for index, name in enumerate(node.output)
    }
    return AtcArguments(
        input_shape=f"{value.name}:{','.join(map(str, sides))}",
        out_nodes=";".join(producers[output.name] for output in model.graph.output),
        aipp=aipp,
        dynamic_image_size=";".join(f"{height},{width}" for height, width in gears),
    )


def aipp(height: int, width: int, mean: list[float], std: list[float]) -> str:
    """The AIPP file for uint8 (1,H,W,3) input in the network's channel order.

    AIPP computes (pixel - mean_chn - min_chn) * var_reci_chn; mean_chn is an integer, so min_chn
    holds all of the mean.
    """
    lines = [
        "aipp_mode: static",
        "input_format: RGB888_U8",
        f"src_image_size_w: {width}",
        f"src_image_size_h: {height}",
        "crop: false",
        "csc_switch: false",
        "rbuv_swap_switch: false",
    ]
    lines += [f"min_chn_{channel}: {value!r}" for channel, value in enumerate(mean)]
    lines += [f"var_reci_chn_{channel}: {1 / value!r}" for channel, value in enumerate(std)]
    return "aipp_op {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


def _plain_names(graph: EditableGraph) -> None:
    """Renames nodes and inner values to letters, digits and underscores."""
    kept = {value.name for value in graph.model.graph.input} | set(graph.outputs)
    given: dict[str, str] = {}
    taken = set(kept)

    def plain(name: str) -> str:
        if not name or name in kept:
            return name
        if name not in given:
            stem = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "v"
            fresh, number = stem, 1
            while fresh in taken:
                fresh, number = f"{stem}_{number}", number + 1
            taken.add(fresh)
            given[name] = fresh
        return given[name]

    for node in graph.nodes:
        inputs, outputs = [plain(n) for n in node.input], [plain(n) for n in node.output]
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.extend(outputs)
    graph.constants.rename(given)
    names: set[str] = set()
    for node in graph.nodes:
        stem = re.sub(r"[^A-Za-z0-9_]+", "_", node.name).strip("_") or node.op_type
        name, number = stem, 1
        while name in names:
            name, number = f"{stem}_{number}", number + 1
        names.add(name)
        node.name = name
