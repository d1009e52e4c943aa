"""Plants errors into a neutral graph: what a wrong export or lowering could do to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
from onnx import numpy_helper

Plant = Callable[[onnx.ModelProto], None]


def filter_off_by_a_hundredth(model: onnx.ModelProto) -> None:
    """The first filter of the first deformable convolution is too large by 1 %."""
    weight = _constant(model, _node(model, "DeformConv").input[1])
    array = numpy_helper.to_array(weight).copy()
    array[0] *= 1.01
    _replace(weight, array)


def offsets_swapped(model: onnx.ModelProto) -> None:
    """The x and y offsets of the first deformable convolution change places."""
    offsets = _node(model, "DeformConv").input[2]
    source = next(node for node in model.graph.node if offsets in node.output)
    for name in source.input[1:]:
        tensor = _constant(model, name)
        array = numpy_helper.to_array(tensor)
        order = np.arange(len(array)).reshape(-1, 2)[:, ::-1].reshape(-1)
        _replace(tensor, array[order])


def nms_at_55(model: onnx.ModelProto) -> None:
    """The final NMS keeps boxes that overlap by up to 0.55 instead of 0.5."""
    _attribute(_node(model, "MultiClassNMS"), "iou_threshold").f = 0.55


def rois_half_a_pixel_off(model: onnx.ModelProto) -> None:
    """RoIs are half a cell away in the first stage of the cascade, as before mmdet 2."""
    _attribute(_node(model, "RoiExtractor"), "aligned").i = 0


def another_epsilon(model: onnx.ModelProto) -> None:
    """The batch norm after the first deformable convolution has epsilon 1e-3, not 1e-5."""
    _attribute(_node(model, "BatchNormalization"), "epsilon").f = 1e-3


def fewer_proposals(model: onnx.ModelProto) -> None:
    """Three tenths of the proposals: 300 instead of the R101's 1000, 90 of the demo's 300."""
    count = _attribute(_node(model, "ProposalNMS"), "max_detections")
    count.i = count.i * 3 // 10


def classes_swapped(model: onnx.ModelProto, first: int = 0, second: int = 1) -> None:
    """The scores of two classes change places."""
    nms = _node(model, "MultiClassNMS")
    scores = nms.input[1]
    bias = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("fc_cls.bias"))
    order = np.arange(len(numpy_helper.to_array(bias)) - 1)  # the last one is the background
    order[[first, second]] = second, first
    model.graph.initializer.append(numpy_helper.from_array(order, "planted/order"))
    gather = onnx.helper.make_node(
        "Gather", [scores, "planted/order"], ["planted/scores"], name="planted", axis=1
    )
    model.graph.node.insert(list(model.graph.node).index(nms), gather)
    nms.input[1] = "planted/scores"


def plants(labels: Sequence[int]) -> dict[str, Plant]:
    """What can be planted, by name.

    Args:
        labels: Labels of detections: the two most frequent classes are the ones to be swapped.
    """
    counts = np.bincount(labels, minlength=2)
    first, second = np.argsort(-counts, kind="stable")[:2].tolist()
    return {
        "filter off by a hundredth": filter_off_by_a_hundredth,
        "x and y offsets swapped": offsets_swapped,
        "final NMS at 0.55": nms_at_55,
        "RoIs half a pixel off": rois_half_a_pixel_off,
        "epsilon 1e-3 in one batch norm": another_epsilon,
        "three tenths of the proposals": fewer_proposals,
        "two classes swapped": partial(classes_swapped, first=first, second=second),
    }


@dataclass(frozen=True)
class Planted:
    """One seeded error.

    Args:
        kind: `filter`, `offsets` or `threshold`.
        what: What was changed, in words.
        value: The first value of the lowered graph that is wrong.
    """

    kind: str
    what: str
    value: str


def seeded(model: onnx.ModelProto, seed: int) -> Planted:
    """Plants one error, by turns of three kinds, somewhere in the graph.

    A filter too large by 5 % (of any convolution or matrix product), the x and y offsets of a
    deformable convolution swapped, or a threshold changed.
    """
    draw = np.random.default_rng(seed)
    kind = ("filter", "offsets", "threshold")[seed % 3]
    if kind == "filter":
        heavy = [
            node
            for node in model.graph.node
            if node.op_type in ("Conv", "DeformConv", "Gemm") and _has(model, node.input[1])
        ]
        node = heavy[draw.integers(len(heavy))]
        weight = _constant(model, node.input[1])
        array = numpy_helper.to_array(weight).copy()
        index = int(draw.integers(len(array)))
        array[index] *= 1.05
        _replace(weight, array)
        # Filters may be shared: by the levels of the pyramid, for one.
        first = next(one for one in model.graph.node if node.input[1] in one.input)
        return Planted(kind, f"filter {index} of {node.name}", _seen(model, first))
    if kind == "offsets":
        layers = [node for node in model.graph.node if node.op_type == "DeformConv"]
        node = layers[draw.integers(len(layers))]
        source = next(one for one in model.graph.node if node.input[2] in one.output)
        for name in source.input[1:]:
            tensor = _constant(model, name)
            array = numpy_helper.to_array(tensor)
            order = np.arange(len(array)).reshape(-1, 2)[:, ::-1].reshape(-1)
            _replace(tensor, array[order])
        return Planted(kind, f"offsets of {node.name}", source.output[0])
    operator, name, change = [
        ("ProposalNMS", "iou_threshold", -0.1),
        ("ProposalNMS", "iou_threshold", 0.1),
        ("MultiClassNMS", "iou_threshold", -0.15),
        ("MultiClassNMS", "iou_threshold", 0.15),
        ("MultiClassNMS", "score_threshold", 0.05),
    ][draw.integers(5)]
    node = _node(model, operator)
    _attribute(node, name).f += change
    what = f"{name} of {operator} by {change:+}"
    return Planted(kind, what, node.output[0])


def _seen(model: onnx.ModelProto, node: onnx.NodeProto) -> str:
    """The first value that a lowering keeps: batch norms are folded into convolutions."""
    for one in model.graph.node:
        if one.op_type == "BatchNormalization" and one.input[0] == node.output[0]:
            return one.output[0]
    return node.output[0]


def _has(model: onnx.ModelProto, name: str) -> bool:
    return any(tensor.name == name for tensor in model.graph.initializer)


def _node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind)


def _constant(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def _attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto:
    return next(attribute for attribute in node.attribute if attribute.name == name)


def _replace(tensor: onnx.TensorProto, array: np.ndarray) -> None:
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))
