"""Replaces neutral operators with those of a runtime: one rule per operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Optional

import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Builder, EditableGraph
from cascadeport.graph.malformed import explained
from cascadeport.graph.neutral import DOMAIN
from cascadeport.graph.passes import shapes

#: Shapes of values; None for a dimension that depends on the picture.
Shapes = Mapping[str, list[Optional[int]]]  # noqa: UP045  (Python 3.9)
#: Adds the nodes that compute the outputs of a neutral node, under the same names.
Rule = Callable[[Builder, onnx.NodeProto, Shapes], None]


def rewrite(graph: EditableGraph, rules: Mapping[str, Rule], *, domain: str = DOMAIN) -> None:
    """Replaces every node of `domain` that has a rule."""
    known = shapes(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        if node.domain == domain and node.op_type in rules:
            build = Builder(graph, node.name)
            with explained(f"{node.op_type} cannot be lowered", f"node {node.name}"):
                rules[node.op_type](build, node, known)
            nodes.extend(build.nodes)
        else:
            nodes.append(node)
    graph.nodes = nodes
    graph.drop_unused()


def side(known: Shapes, name: str, axis: int, node: onnx.NodeProto) -> int:
    """One dimension of a value, which must be known; others need not be."""
    shape = known.get(name)
    found = None if shape is None else shape[axis]
    if found is None:
        raise CascadeportError(
            f"The size of {name} along axis {axis} is not known.",
            where=f"node {node.name}",
            next="Export the model again.",
        )
    return found


def static(known: Shapes, name: str, node: onnx.NodeProto) -> list[int]:
    """The shape of a value, all dimensions of which must be known."""
    shape = known.get(name)
    if shape is None or None in shape:
        raise CascadeportError(
            f"The shape of {name} depends on the picture: {shape}.",
            where=f"node {node.name}",
            next="Export the model with a fixed height and width.",
        )
    return [side for side in shape if side is not None]
