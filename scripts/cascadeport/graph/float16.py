"""The network in float16, for devices with float16 matrix units; boxes stay in float32.

Convolutions and matrix products compute in float16, and so do operators that only pass their
values on. RoIs, box arithmetic, scores and NMS do not: above 1024, float16 resolves whole pixels
only.
"""

from __future__ import annotations

import numpy as np
import onnx

from cascadeport.graph.editing import Builder, EditableGraph

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
#: Operators with most of the arithmetic: always in float16, with all of their inputs.
HEAVY = frozenset({"Conv", "DeformConv", "Gemm", "MatMul"})
#: In float16 when their inputs are, with the number of inputs that are values.
PASSING = {
    "Add": 2,
    "Relu": 1,
    "MaxPool": 1,
    "Resize": 1,
    "Reshape": 1,
    "Flatten": 1,
    "Transpose": 1,
}
CHANGE = "computed in float16 up to the heads' outputs; boxes, scores and NMS in float32"


def convert_to_float16(graph: EditableGraph) -> list[str]:
    """Converts a graph of standard operators; returns what that changes, in sentences."""
    halves: set[str] = set()
    casts: dict[tuple[str, int], str] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        count = _values(node, halves)
        build = Builder(graph, f"{node.name}/cast")
        for index, name in enumerate(node.input):
            if not name or (count and index >= count):
                continue
            if not count:
                if name in halves:
                    node.input[index] = _cast(build, name, FLOAT, casts)
            elif name in graph.constants:
                node.input[index] = _constant(graph, name, casts)
            elif name not in halves:
                node.input[index] = _cast(build, name, FLOAT16, casts)
        if count:
            halves.update(node.output)
        nodes += [*build.nodes, node]
    graph.nodes = nodes
    assert not halves & set(graph.outputs)
    return [CHANGE] if halves else []


def _values(node: onnx.NodeProto, halves: set[str]) -> int:
    """How many of a node's inputs are float16; 0 where the node stays in float32."""
    if node.domain:
        return 0
    if node.op_type in HEAVY:
        return len(node.input)
    count = PASSING.get(node.op_type, 0)
    return count if count and all(name in halves for name in node.input[:count]) else 0


def _cast(build: Builder, name: str, kind: int, casts: dict[tuple[str, int], str]) -> str:
    if (name, kind) not in casts:
        casts[name, kind] = build.op("Cast", [name], to=kind)
    return casts[name, kind]


def _constant(graph: EditableGraph, name: str, casts: dict[tuple[str, int], str]) -> str:
    """The constant in float16 under a new name: other nodes may read it in float32."""
    if (name, FLOAT16) not in casts:
        half = graph.fresh(f"{name}/float16")
        graph.constants[half] = np.asarray(graph.constants[name], np.float16)
        casts[name, FLOAT16] = half
    return casts[name, FLOAT16]
