"""Folding: fewer nodes, the same numbers."""

from __future__ import annotations

import numpy as np
import onnx
from cascadeport.graph import opset11 as standard
from cascadeport.graph import passes
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.neutral import DOMAIN
from cascadeport.graph.uint8 import normalise_inside
from onnx import helper

from tests.helpers.graph_models import FLOAT, model_of, run

draw = np.random.default_rng(7)


def norm_constants(channels: int) -> dict[str, np.ndarray]:
    return {
        "gamma": draw.uniform(0.5, 1.5, channels).astype("f4"),
        "beta": draw.normal(size=channels).astype("f4"),
        "mean": draw.normal(size=channels).astype("f4"),
        "var": draw.uniform(0.1, 2, channels).astype("f4"),
    }


def norm_node(source: str, result: str) -> onnx.NodeProto:
    inputs = [source, "gamma", "beta", "mean", "var"]
    return helper.make_node("BatchNormalization", inputs, [result], epsilon=1e-3)


def ops(graph: EditableGraph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def test_a_batch_norm_is_folded_into_the_deformable_convolution_before_it() -> None:
    weight = draw.normal(size=(5, 3, 3, 3)).astype("f4")
    x = draw.normal(size=(1, 3, 6, 6)).astype("f4")
    offset = draw.normal(size=(1, 18, 6, 6)).astype("f4")
    dcn = helper.make_node(
        "DeformConv", ["x", "weight", "offset"], ["y"], name="dcn", domain=DOMAIN,
        strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1],
    )  # fmt: skip
    constants = {"weight": weight, **norm_constants(5)}
    nodes = [dcn, norm_node("y", "z"), helper.make_node("Relu", ["z"], ["out"])]
    feeds = {"x": x, "offset": offset}
    model = model_of(nodes, {k: v.shape for k, v in feeds.items()}, {"out": FLOAT}, constants)
    graph = EditableGraph(model)
    passes.fold_batch_norms(graph)
    assert ops(graph) == ["DeformConv", "Relu"]

    # The same without folding: the batch norm by hand, after the lowered convolution.
    plain = model_of(nodes[:1], {k: v.shape for k, v in feeds.items()}, {"y": FLOAT}, constants)
    (y,) = run(standard.lower(EditableGraph(plain)), feeds)
    shape = (1, -1, 1, 1)
    gamma, beta, mean, var = (constants[n].reshape(shape) for n in ("gamma", "beta", "mean", "var"))
    expected = np.maximum((y - mean) / np.sqrt(var + 1e-3) * gamma + beta, 0)
    (found,) = run(standard.lower(graph), feeds)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_batch_norm_stays_when_its_input_is_read_by_others_too() -> None:
    weight = draw.normal(size=(2, 3, 1, 1)).astype("f4")
    nodes = [
        helper.make_node("Conv", ["x", "weight"], ["y"], name="conv"),
        norm_node("y", "z"),
        helper.make_node("Add", ["y", "z"], ["out"]),
    ]
    graph = EditableGraph(
        model_of(
            nodes, {"x": (1, 3, 4, 4)}, {"out": FLOAT}, {"weight": weight, **norm_constants(2)}
        )
    )
    passes.fold_batch_norms(graph)
    assert ops(graph) == ["Conv", "BatchNormalization", "Add"]


def test_shapes_and_their_arithmetic_are_folded() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "index"], ["height"], axis=0),
        helper.make_node("Cast", ["height"], ["number"], to=FLOAT),
        helper.make_node("Mul", ["x", "number"], ["out"]),
        helper.make_node("Exp", ["x"], ["unused"]),
    ]
    graph = EditableGraph(
        model_of(nodes, {"x": (1, 3, 8, 9)}, {"out": FLOAT}, {"index": np.array(2)})
    )
    passes.fold_constants(graph)
    graph.drop_unused()
    assert ops(graph) == ["Mul"]
    assert graph.constants[graph.nodes[0].input[1]] == 8


def test_a_shape_that_depends_on_the_picture_is_left_alone() -> None:
    nodes = [
        helper.make_node("NonZero", ["x"], ["where"]),
        helper.make_node("Shape", ["where"], ["out"]),
    ]
    graph = EditableGraph(model_of(nodes, {"x": (4, 4)}, {"out": onnx.TensorProto.INT64}, {}))
    passes.fold_constants(graph)
    assert ops(graph) == ["NonZero", "Shape"]


def test_a_constant_does_not_outgrow_its_inputs() -> None:
    shape = np.array([passes.MAX_FOLDED + 1])
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("Add", ["zeros", "x"], ["out"]),
    ]
    graph = EditableGraph(model_of(nodes, {"x": (1,)}, {"out": FLOAT}, {"shape": shape}))
    passes.fold_constants(graph)
    assert ops(graph) == ["ConstantOfShape", "Add"]


def test_uint8_input_is_normalised_inside_the_network() -> None:
    model = model_of(
        [helper.make_node("Identity", ["input"], ["out"])],
        {"input": (1, 3, 4, 5)},
        {"out": FLOAT},
        {},
    )
    graph = EditableGraph(model)
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    normalise_inside(graph, mean, std)
    picture = draw.integers(0, 256, (1, 4, 5, 3), dtype=np.uint8)
    (found,) = run(standard.lower(graph), {"input": picture})
    expected = ((picture.astype("f8") - mean) / std).transpose(0, 3, 1, 2)
    assert found.shape == (1, 3, 4, 5)
    np.testing.assert_allclose(found, expected, atol=1e-6)
