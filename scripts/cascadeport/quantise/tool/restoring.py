"""Gives nodes of a quantised graph their float32 inputs back."""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import helper, numpy_helper


def fold_casts(model: onnx.ModelProto) -> onnx.ModelProto:
    """Casts of constants become constants: NNCF takes the input of a cast for a value."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type != "Cast" or node.input[0] not in constants:
            kept.append(node)
            continue
        kind = next(one.i for one in node.attribute if one.name == "to")
        array = numpy_helper.to_array(constants[node.input[0]])
        array = array.astype(helper.tensor_dtype_to_np_dtype(kind))
        model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def restored(
    quantised: onnx.ModelProto, original: onnx.ModelProto, names: Collection[str]
) -> onnx.ModelProto:
    """The quantised graph in which these nodes compute in float32, with their own weights.

    Their activations come from before the QuantizeLinear that the quantised node reads.
    """
    model = onnx.ModelProto()
    model.CopyFrom(quantised)
    if not names:
        return model
    producers = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in original.graph.initializer}
    before = {node.name: node for node in original.graph.node}
    added: dict[str, str] = {}
    for node in model.graph.node:
        if node.name not in names:
            continue
        for index, name in enumerate(before[node.name].input):
            if name in constants:
                if name not in added:
                    added[name] = f"{name}/float32"
                    tensor = model.graph.initializer.add()
                    tensor.CopyFrom(constants[name])
                    tensor.name = added[name]
                node.input[index] = added[name]
            elif name:
                node.input[index] = _before(node.input[index], producers)
    _drop_unused(model)
    return model


def _before(name: str, producers: dict[str, onnx.NodeProto]) -> str:
    """The value that a pair of QuantizeLinear and DequantizeLinear rounds."""
    while name in producers and producers[name].op_type == "DequantizeLinear":
        quantised = producers.get(producers[name].input[0])
        if quantised is None or quantised.op_type != "QuantizeLinear":
            break
        name = quantised.input[0]
    return name


def _drop_unused(model: onnx.ModelProto) -> None:
    wanted = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    nodes = kept[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
