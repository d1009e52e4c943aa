"""The passes that every lowering runs first: fold constants, drop unused nodes."""

from __future__ import annotations

import math

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
from onnx import helper

from cascadeport.graph.editing import Builder, EditableGraph, attribute
from cascadeport.graph.malformed import explained
from cascadeport.graph.neutral import DOMAIN

#: Elements of the largest result that becomes a constant; larger ones are computed at run time.
MAX_FOLDED = 1 << 22
#: Elements of the largest intermediate value that is computed here.
MAX_COMPUTED = 1 << 24
#: Elements of all values that are computed in one round.
MAX_TOGETHER = 1 << 27
#: Operators that may never terminate.
_LOOPS = ("Loop", "Scan")
#: Operators whose output size is known only after running them; their inputs bound it.
_SELECTIONS = ("NonZero", "Compress", "Unique", "NonMaxSuppression")
#: Convolutions whose batch norm can be folded, and the index of their bias.
CONVOLUTIONS = {("", "Conv"): 2, (DOMAIN, "DeformConv"): 3, ("cann", "DeformableConv2D"): 3}


def shapes(graph: EditableGraph) -> dict[str, list[int | None]]:
    """The inferred shape of each value; a side that depends on the picture is None.

    Shape inference needs no weights, so it works on the skeleton.
    """
    inferred = onnx.shape_inference.infer_shapes(graph.skeleton(), data_prop=True)
    found: dict[str, list[int | None]] = {}
    for value in [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]:
        if value.type.tensor_type.HasField("shape"):
            found[value.name] = [
                side.dim_value if side.HasField("dim_value") else None
                for side in value.type.tensor_type.shape.dim
            ]
    return found


def integers(graph: EditableGraph) -> set[str]:
    """The values that hold integers, as far as inference knows."""
    inferred = onnx.shape_inference.infer_shapes(graph.skeleton(), data_prop=True)
    kinds = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
    return {
        value.name
        for value in [*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output]
        if value.type.tensor_type.elem_type in kinds
    }


def fold_constants(graph: EditableGraph) -> None:
    """Replaces every node that does not depend on the picture by its result."""
    while True:
        _fold_shapes(graph)
        results = _run(graph, _within_limits(graph, _constant(graph)))
        if not results:
            return
        for name, array in results.items():
            graph.constants[name] = array
        graph.nodes = [node for node in graph.nodes if not set(node.output) <= set(results)]
        graph.drop_unused()


def _constant(graph: EditableGraph) -> list[onnx.NodeProto]:
    """The nodes that read only constants and each other."""
    known = set(graph.constants.names())
    constant: list[onnx.NodeProto] = []
    for node in graph.nodes:
        inputs = [name for name in node.input if name]
        if node.domain or node.op_type in _LOOPS:
            continue
        if inputs and all(name in known for name in inputs):
            constant.append(node)
            known |= set(node.output)
    return constant


def _within_limits(graph: EditableGraph, nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The constant nodes whose results are small enough to compute here.

    A node of a few bytes can have a result of terabytes. Sizes come from shape inference; a node
    whose result has no known shape yet waits for the next round, when its inputs are constants.
    """
    if not nodes:
        return []
    model = _part(graph, nodes)
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    sizes = {name: graph.constants.size(name) for name in graph.constants.names()}
    for value in inferred.graph.value_info:
        sides = [
            side.dim_value if side.HasField("dim_value") else None
            for side in value.type.tensor_type.shape.dim
        ]
        if value.type.tensor_type.HasField("shape") and None not in sides:
            sizes[value.name] = math.prod(side or 0 for side in sides)
    kept, together = [], 0
    for node in nodes:
        read = [sizes.get(name) for name in node.input if name]
        made = [sizes.get(name) for name in node.output if name]
        if node.op_type in _SELECTIONS and None not in read:
            # Indices along every axis, at most.
            made = [8 * max(size or 0 for size in read) if size is None else size for size in made]
        if None in read or None in made:
            continue
        counts = [size or 0 for size in made]
        total = sum(counts)
        if total > MAX_COMPUTED or together + total > MAX_TOGETHER:
            for name in node.output:
                sizes.pop(name, None)
            continue
        together += total
        sizes.update(zip(filter(None, node.output), counts, strict=True))
        kept.append(node)
    return kept


def fold_batch_norms(graph: EditableGraph) -> None:
    """Folds batch norms into the weights and biases of the convolutions before them."""
    producers, consumers = graph.producers(), graph.consumers()
    for norm in [node for node in graph.nodes if node.op_type == "BatchNormalization"]:
        conv = producers.get(norm.input[0])
        if conv is None or (conv.domain, conv.op_type) not in CONVOLUTIONS:
            continue
        if len(consumers[conv.output[0]]) > 1 or conv.output[0] in graph.outputs:
            continue
        gamma, beta, mean, variance = (graph.constants[n].astype("f8") for n in norm.input[1:5])
        factor = gamma / np.sqrt(variance + attribute(norm, "epsilon", 1e-5))
        index = CONVOLUTIONS[conv.domain, conv.op_type]
        bias = graph.constants[conv.input[index]] if len(conv.input) > index else 0.0
        weight = graph.constants[conv.input[1]] * factor.reshape(-1, 1, 1, 1)
        build = Builder(graph, conv.name)
        inputs = [
            *conv.input[:1],
            build.const(weight, stem="weight"),
            *conv.input[2:index],
            build.const(beta + (bias - mean) * factor, stem="bias"),
        ]
        del conv.input[:]
        conv.input.extend(inputs)
        conv.output[0] = norm.output[0]
        graph.nodes.remove(norm)
    graph.drop_unused()


def _fold_shapes(graph: EditableGraph) -> None:
    """Replaces `Shape` of values whose shape is known."""
    if not any(node.op_type == "Shape" for node in graph.nodes):
        return
    known = shapes(graph)
    kept = []
    for node in graph.nodes:
        shape = known.get(node.input[0]) if node.op_type == "Shape" and not node.domain else None
        if shape is None or None in shape:
            kept.append(node)
        else:
            graph.constants[node.output[0]] = np.array(shape, dtype=np.int64)
    graph.nodes = kept


def _run(graph: EditableGraph, nodes: list[onnx.NodeProto]) -> dict[str, np.ndarray]:
    """The results of nodes that read only constants and each other, without the large ones."""
    if not nodes:
        return {}
    made = [name for node in nodes for name in node.output if name]
    model = _part(graph, nodes)
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in made)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    with explained("A constant part of the graph cannot be computed", f"nodes before {made[-1]}"):
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        results = dict(zip(made, session.run(made, {}), strict=True))
    return {name: array for name, array in results.items() if array.size <= MAX_FOLDED}


def _part(graph: EditableGraph, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """A model of some nodes that read only constants and each other; it has no outputs."""
    made = {name for node in nodes for name in node.output if name}
    inputs = {name for node in nodes for name in node.input if name} - made
    part = helper.make_graph(nodes, "constants", [], [])
    part.initializer.extend(
        onnx.numpy_helper.from_array(np.ascontiguousarray(graph.constants[name]), name)
        for name in sorted(inputs)
    )
    imports = [entry for entry in graph.model.opset_import if entry.domain == ""]
    return helper.make_model(part, opset_imports=imports, ir_version=graph.model.ir_version)
