"""Normalisation inside the network: uint8 input (1,H,W,3) instead of float32 (1,3,H,W)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import helper

from cascadeport.graph.editing import Builder, EditableGraph


def normalise_inside(graph: EditableGraph, mean: Sequence[float], std: Sequence[float]) -> None:
    """Changes the input to uint8 and prepends (x - mean) / std, in the network's channel order.

    The arithmetic is mmcv's (subtract, then multiply by the reciprocal, in float32). Padding
    bytes are the rounded mean, so the normalised padding is nearly, not exactly, 0.
    """
    value = graph.model.graph.input[0]
    _, channels, height, width = [side.dim_value for side in value.type.tensor_type.shape.dim]
    build = Builder(graph, "normalise")
    planes = build.op("Transpose", [value.name], perm=[0, 3, 1, 2])
    planes = build.op("Cast", [planes], to=onnx.TensorProto.FLOAT)
    shape = (1, channels, 1, 1)
    planes = build.op("Sub", [planes, build.const(np.reshape(mean, shape))])
    planes = build.op(
        "Mul", [planes, build.const(np.reshape(1 / np.asarray(std, np.float64), shape))]
    )
    for node in graph.nodes:
        for index, name in enumerate(node.input):
            if name == value.name:
                node.input[index] = planes
    graph.nodes = build.nodes + graph.nodes
    shape_in = [1, height, width, channels]
    value.CopyFrom(helper.make_tensor_value_info(value.name, onnx.TensorProto.UINT8, shape_in))
