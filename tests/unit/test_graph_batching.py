"""One neutral graph for several pictures at once: each has the detections that it has alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.graph import check_contract, editing
from cascadeport.graph.batching import batches, for_pictures, outputs
from cascadeport.graph.lowering import LoweringRequest
from cascadeport.graph.onnx_session import load_session
from onnx import TensorProto, helper

from tests.helpers.graph_models import picture_for, tiny_detector

DEMO = REPOSITORY / "models" / "demo" / "demo.onnx"
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
UINT8: dict[str, Any] = {"dtype": "uint8", "mean": MEAN, "std": STD}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "neutral.onnx"
    onnx.save(tiny_detector(), str(path))
    return path


def lowered(neutral: Path, folder: Path, pictures: int, **request: Any) -> Path:
    path = folder / f"{pictures}.onnx"
    asked = LoweringRequest(pictures=pictures, **request)
    return backends.lowering("onnxruntime").lower(neutral, path, asked).path


def inputs(path: Path, count: int) -> list[np.ndarray]:
    """Different pictures, for a network of one picture."""
    model = onnx.load(str(path))
    found = [picture_for(model, seed)["input"] for seed in range(count)]
    if model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8:
        return [np.clip(one * 60 + 120, 0, 255).astype(np.uint8) for one in found]
    return found


@pytest.mark.parametrize("pictures", [2, 3])
@pytest.mark.parametrize(
    ("request_", "noise"),
    # onnxruntime fuses the first nodes of a batch otherwise, and adds up in another order.
    [({}, 0.0), (UINT8, 1e-5), ({"precision": "float16"}, 1e-5)],
    ids=["float32", "uint8", "float16"],
)
def test_a_picture_is_found_to_have_what_it_has_alone(
    tiny: Path, tmp_path: Path, pictures: int, request_: dict[str, Any], noise: float
) -> None:
    alone, several = (lowered(tiny, tmp_path, n, **request_) for n in (1, pictures))
    fed = inputs(alone, 7)
    single, together = load_session(alone).run(fed), load_session(several).run(fed)
    assert len(together) == 7
    assert sum(len(boxes) for boxes, _ in single) > 7
    for (boxes, labels), (others, classes) in zip(single, together, strict=True):
        assert len(boxes) == len(others)
        np.testing.assert_allclose(boxes, others, rtol=0, atol=noise)
        np.testing.assert_array_equal(labels, classes)


@pytest.mark.parametrize("request_", [{"shape": (256, 256)}, {"any_shape": True}], ids=str)
def test_the_demo_of_one_shape_and_of_every_shape(tmp_path: Path, request_: Any) -> None:
    alone, several = (lowered(DEMO, tmp_path, n, **request_) for n in (1, 2))
    draw = np.random.default_rng(3)
    fed = [
        draw.standard_normal((1, 3, 16, 16)).astype("f4").repeat(16, 2).repeat(16, 3)
        for _ in range(3)
    ]
    single, together = load_session(alone).run(fed), load_session(several).run(fed)
    for (boxes, labels), (others, classes) in zip(single, together, strict=True):
        np.testing.assert_array_equal(boxes, others)
        np.testing.assert_array_equal(labels, classes)


def test_copies_share_the_weights(tmp_path: Path) -> None:
    """Four pictures are not four networks: the convolutions are there once, and every weight."""
    alone, several = (lowered(DEMO, tmp_path, n) for n in (1, 4))
    counts = [
        [node.op_type for node in onnx.load(str(path)).graph.node] for path in (alone, several)
    ]
    for kind in ("Conv", "DeformConv", "MaxPool", "Resize"):
        assert counts[0].count(kind) == counts[1].count(kind)
    for kind in ("NonMaxSuppression", "Gemm", "RoiAlign"):
        assert 4 * counts[0].count(kind) == counts[1].count(kind) > 0
    assert several.stat().st_size < 1.05 * alone.stat().st_size


@pytest.mark.parametrize("request_", [{}, UINT8], ids=["float32", "uint8"])
def test_the_contract(tiny: Path, tmp_path: Path, request_: Any) -> None:
    path = lowered(tiny, tmp_path, 3, **request_)
    assert check_contract(path, pictures=3).pictures == 3
    names = [value.name for value in onnx.load(str(path)).graph.output]
    assert names == outputs("boxes", "labels", 3)
    assert names == ["boxes_0", "labels_0", "boxes_1", "labels_1", "boxes_2", "labels_2"]
    with pytest.raises(CascadeportError, match="breaks the contract") as caught:
        check_contract(path)
    assert "it must be a fixed (1," in str(caught.value.details)
    with pytest.raises(CascadeportError, match="breaks the contract"):
        check_contract(path, pictures=2)
    with pytest.raises(CascadeportError, match="breaks the contract"):
        check_contract(lowered(tiny, tmp_path, 1, **request_), pictures=3)


@pytest.mark.parametrize("name", ["onnxruntime-1.9", "ascend", "ascend-standard"])
def test_other_lowerings_refuse(tiny: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(CascadeportError, match="one picture each"):
        backends.lowering(name).lower(tiny, tmp_path / "no.onnx", LoweringRequest(pictures=2))


def graph_of(*nodes: onnx.NodeProto, **constants: np.ndarray) -> editing.EditableGraph:
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, None)
    model = helper.make_model(
        helper.make_graph(list(nodes), "g", [value], [result]),
        opset_imports=[helper.make_opsetid("", 11)],
        ir_version=6,
    )
    graph = editing.EditableGraph(model)
    for name, array in constants.items():
        graph.constants[name] = array
    return graph


CONV = helper.make_node("Conv", ["input", "w"], ["x"])
W = np.ones((3, 3, 1, 1), np.float32)


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        # Each mixes pictures if it is given a batch.
        (helper.make_node("ReduceMean", ["x"], ["y"], keepdims=1), {}),
        (helper.make_node("Softmax", ["x"], ["y"], axis=0), {}),
        (helper.make_node("Concat", ["x", "x"], ["y"], axis=0), {}),
        (helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0, 2, 3]), {}),
        (helper.make_node("Transpose", ["x"], ["y"]), {}),
        (helper.make_node("Reshape", ["x", "s"], ["y"]), {"s": np.array([3, 64])}),
        (helper.make_node("Add", ["x", "c"], ["y"]), {"c": np.ones((1, 1, 1, 8, 8), "f4")}),
        (helper.make_node("Mul", ["x", "c"], ["y"]), {"c": np.ones((2, 1, 1, 1), "f4")}),
        (helper.make_node("Flatten", ["x"], ["y"], axis=2), {}),
    ],
    ids=lambda one: getattr(one, "op_type", ""),
)
def test_what_mixes_pictures_gets_one(node: onnx.NodeProto, constants: Any) -> None:
    graph = graph_of(CONV, node, helper.make_node("Relu", ["y"], ["boxes"]), w=W, **constants)
    for_pictures(graph, 2)
    model = graph.to_model()
    kinds = [one.op_type for one in model.graph.node]
    assert kinds.count("Conv") == 1
    assert kinds.count(node.op_type) == kinds.count("Slice") == 2
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    draw = np.random.default_rng(1)
    fed = draw.standard_normal((2, 3, 8, 8)).astype("f4")
    found = session.run(["boxes_0", "boxes_1"], {"input": fed})
    twice = session.run(["boxes_0", "boxes_1"], {"input": fed[::-1].copy()})
    np.testing.assert_array_equal(found[0], twice[1])
    np.testing.assert_array_equal(found[1], twice[0])


def test_what_has_no_part_for_all_is_refused() -> None:
    with pytest.raises(CascadeportError, match="Nothing in this graph"):
        for_pictures(graph_of(helper.make_node("Relu", ["input"], ["boxes"])), 2)


def test_inputs_side_by_side() -> None:
    ones = [np.full((1, 3, 2, 2 + (number == 1)), number) for number in range(6)]
    found = [(own, list(one[:, 0, 0, 0])) for own, one in batches(ones, 3)]
    assert found == [([0, 2, 3], [0, 2, 3]), ([4, 5], [4, 5, 4]), ([1], [1, 1, 1])]
