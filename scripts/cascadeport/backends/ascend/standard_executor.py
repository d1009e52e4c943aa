"""What the reference executor changes in the standard operators of an Ascend graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper

from cascadeport.graph.editing import Builder, EditableGraph, attribute

Round = Callable[[Builder, str], str]


def leave_thin(graph: EditableGraph) -> None:
    """Lets RoiAlign leave RoIs thinner than a cell as they are.

    It does with half_pixel only, which moves boxes by half a cell: they are moved back before.
    """
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        if node.op_type == "RoiAlign" and not node.domain:
            build = Builder(graph, node.name)
            half = build.const(0.5 / attribute(node, "spatial_scale"))
            node.input[1] = build.op("Add", [node.input[1], half])
            kept = [each for each in node.attribute if each.name != _MODE]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(_MODE, "half_pixel")])
            nodes += build.nodes
        nodes.append(node)
    graph.nodes = nodes


_MODE = "coordinate_transformation_mode"


def round_products(graph: EditableGraph, rounded: Round) -> None:
    """Rounds the factors of matrix products, and the products, to float16.

    The matrix unit takes nothing else; it sums in float32. In an Ascend graph the products are
    those of deformable convolution, and those of NMS, whose zeros and ones stay what they are.
    """
    nodes: list[onnx.NodeProto] = []
    for node in graph.nodes:
        if node.op_type != "MatMul" or node.domain:
            nodes.append(node)
            continue
        build = Builder(graph, node.name)
        inputs = []
        for name in node.input:
            if name in graph.constants:
                array = graph.constants[name].astype(np.float16).astype(np.float32)
                inputs.append(build.const(array, stem="factor"))
            else:
                inputs.append(rounded(build, name))
        product = build.op("MatMul", inputs)
        build.op("Identity", [rounded(build, product)], outputs=[node.output[0]])
        nodes += build.nodes
    graph.nodes = nodes
