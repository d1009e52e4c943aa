"""Optional changes of the network's meaning, each of which is reported.

Fewer proposals, NMS of proposals across pyramid levels, NMS of boxes rounded to float16.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Builder, EditableGraph, load
from cascadeport.graph.neutral import DOMAIN


def limit_proposals(graph: EditableGraph, count: int | None) -> list[str]:
    """Keeps at most `count` proposals of the RPN; returns what that changes, in sentences.

    None, or a count not below that of the exported model, changes nothing.
    """
    node = _proposal_nms(graph)
    if node is None or count is None:
        return []
    if count < 1:
        raise CascadeportError(f"{count} proposals were requested; the minimum is 1.")
    for found in node.attribute:
        if found.name == "max_detections" and found.i > count:
            before, found.i = found.i, count
            return [f"{count} proposals instead of {before}"]
    return []


def proposals_of(path: Path) -> int | None:
    """How many proposals the RPN of a neutral graph keeps at most; None: it has no RPN, or the file
    cannot be read."""
    try:
        model = load(path)
    except CascadeportError:
        return None
    for node in model.graph.node:
        if node.domain == DOMAIN and node.op_type == "ProposalNMS":
            return next((one.i for one in node.attribute if one.name == "max_detections"), None)
    return None


def merge_levels(graph: EditableGraph, across: bool) -> list[str]:
    """Lets NMS of proposals compare boxes of all pyramid levels, if `across`."""
    node = _proposal_nms(graph)
    if node is None or not across or not graph.constants[node.input[2]].any():
        return []
    name = graph.fresh(f"{node.name}/one_level")
    graph.constants[name] = np.zeros_like(graph.constants[node.input[2]])
    node.input[2] = name
    return ["NMS of proposals across pyramid levels instead of within each"]


def round_before_nms(graph: EditableGraph) -> list[str]:
    """Rounds boxes and scores to float16 before every NMS, as a runtime with float16 NMS only does.

    NMS passes on its inputs, so its outputs are rounded too.
    """
    rounded: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        if node.domain == DOMAIN and node.op_type in ("ProposalNMS", "MultiClassNMS"):
            build = Builder(graph, f"{node.name}/float16")
            for index in (0, 1):
                name = node.input[index]
                if name not in rounded:
                    half = build.op("Cast", [name], to=onnx.TensorProto.FLOAT16)
                    rounded[name] = build.op("Cast", [half], to=onnx.TensorProto.FLOAT)
                node.input[index] = rounded[name]
            nodes += build.nodes
        nodes.append(node)
    graph.nodes = nodes
    if not rounded:
        return []
    return ["NMS in float16: boxes lie on a grid of 0.25 to 1 px in a frame of 1216 px"]


def _proposal_nms(graph: EditableGraph) -> onnx.NodeProto | None:
    for node in graph.nodes:
        if node.domain == DOMAIN and node.op_type == "ProposalNMS":
            return node
    return None
