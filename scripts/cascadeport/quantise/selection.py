"""Which nodes of a lowered graph may compute in int8, and why the others do not.

By structure, not by name, so that it holds for any detector: layers with weights may, but never
those that give deformable offsets, and never a head's output, whose values become boxes or scores
without another layer. RoIs, box arithmetic, scores and NMS are no layers and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from cascadeport.graph.editing import EditableGraph

OFFSETS = "it gives deformable offsets: a position is not a feature"
OUTPUT = "it is a head's output: its values become boxes or scores"
DEFORMABLE = "a deformable convolution: no runtime here has one in int8"

#: Layers that can be int8, with the number of their inputs that are values.
_LAYERS = {"Conv": 1, "Gemm": 1}
#: What features go through between layers. Positions and scores go through others.
_BETWEEN = frozenset(
    {"Relu", "LeakyRelu", "Clip", "Add", "MaxPool", "AveragePool", "Resize", "Flatten", "Concat"}
)
#: Of those, what computes in int8 where its inputs are.
_PASSING = frozenset({"Relu", "Add", "MaxPool", "Resize"})
#: Operators that read features beside layers, with the inputs that are features.
_READERS = {"DeformConv": (0,), "RoiAlign": (0,)}


@dataclass(frozen=True)
class Layer:
    """A layer with weights.

    Args:
        name: Its node's name.
        operator: Its node's operator.
        kept: Why it stays in float32 by its place in the graph; empty: it may be int8.
    """

    name: str
    operator: str
    kept: str = ""


@dataclass(frozen=True)
class Selection:
    """What of a graph may be int8.

    Args:
        layers: Every layer with weights, in the order of computation.
        passing: Names of the nodes between them that may be int8 as well.
    """

    layers: tuple[Layer, ...]
    passing: tuple[str, ...]

    @property
    def candidates(self) -> tuple[str, ...]:
        """The layers that may be int8."""
        return tuple(layer.name for layer in self.layers if not layer.kept)

    @property
    def nodes(self) -> tuple[str, ...]:
        """Everything that may be int8."""
        return (*self.candidates, *self.passing)


def select(model: onnx.ModelProto) -> Selection:
    """Looks at a lowered graph in float32."""
    graph = EditableGraph(model)
    producers, readers = graph.producers(), graph.consumers()
    offsets = set(_offsets(graph, producers))

    def reaches_layer(name: str) -> bool:
        pending, seen = [name], {name}
        while pending:
            value = pending.pop()
            for node in readers.get(value, ()):
                if _is_layer(node, graph) and node.input[0] == value:
                    return True
                if any(node.input[index] == value for index in _READERS.get(node.op_type, ())):
                    return True
                new = set(node.output) - seen if node.op_type in _BETWEEN else set()
                pending += new
                seen |= new
        return False

    def is_feature(name: str) -> bool:
        """Whether a value comes from layers through nothing but what features go through."""
        if name in graph.constants:
            return False
        node = producers.get(name)
        if node is None:
            return False
        if _is_layer(node, graph) or node.op_type in _READERS:
            return True
        if node.op_type not in _PASSING:
            return False
        values = node.input if node.op_type == "Add" else node.input[:1]
        return all(map(is_feature, values))

    layers: list[Layer] = []
    passing: list[str] = []
    for node in graph.nodes:
        if node.op_type == "DeformConv":
            layers.append(Layer(node.name, node.op_type, DEFORMABLE))
        elif _is_layer(node, graph):
            reason = OFFSETS if node.name in offsets else ""
            if not reason and not reaches_layer(node.output[0]):
                reason = OUTPUT
            layers.append(Layer(node.name, node.op_type, reason))
        elif (
            node.op_type in _PASSING
            and is_feature(node.output[0])
            and (reaches_layer(node.output[0]))
        ):
            passing.append(node.name)
    return Selection(tuple(layers), tuple(passing))


def _is_layer(node: onnx.NodeProto, graph: EditableGraph) -> bool:
    return node.op_type in _LAYERS and node.input[1] in graph.constants


def _offsets(graph: EditableGraph, producers: dict[str, onnx.NodeProto]) -> Iterator[str]:
    """The layers that give offsets and masks of deformable convolutions."""
    for node in graph.nodes:
        if node.op_type != "DeformConv":
            continue
        pending = [node.input[2], *node.input[4:5]]
        while pending:
            producer = producers.get(pending.pop())
            if producer is None:
                continue
            if _is_layer(producer, graph):
                yield producer.name
            else:
                pending += producer.input
