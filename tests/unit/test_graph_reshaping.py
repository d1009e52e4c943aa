"""One neutral graph for other shapes, and for every shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.graph import opset19, reshaping
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.neutral import load_neutral

DEMO = REPOSITORY / "models" / "demo" / "demo.onnx"


def demo() -> EditableGraph:
    return EditableGraph(load_neutral(DEMO))


def session(graph: EditableGraph) -> Any:
    """Without the optimisation of layouts, which rounds otherwise where sizes are known."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    model = opset19.lower(graph).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def picture(height: int, width: int, seed: int = 0) -> Any:
    noise = np.random.default_rng(seed).standard_normal((height, width, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), 3) * 8
    return np.ascontiguousarray(blurred.transpose(2, 0, 1)[np.newaxis])


def detect(session: Any, value: Any) -> list[Any]:
    return list(session.run(["boxes", "labels"], {"input": value}))


def same(one: list[Any], other: list[Any]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_at_the_traced_shape_nothing_changes() -> None:
    graph, untouched = demo(), demo()
    reshaping.for_shape(graph, (256, 256))
    assert graph.to_model().SerializeToString() == untouched.to_model().SerializeToString()


def test_back_at_the_traced_shape_the_bits_are_the_same() -> None:
    there = demo()
    reshaping.for_shape(there, (320, 480))
    back = EditableGraph(there.to_model())
    reshaping.for_shape(back, (256, 256))
    value = picture(256, 256)
    assert same(detect(session(back), value), detect(session(demo()), value))


def test_a_network_for_every_shape_gives_the_bits_of_one_for_each() -> None:
    general = demo()
    reshaping.for_any_shape(general)
    general_session = session(general)
    for shape in [(256, 256), (32, 32), (64, 96), (320, 480), (96, 416), (544, 736)]:
        fixed = demo()
        reshaping.for_shape(fixed, shape)
        value = picture(*shape)
        found = detect(session(fixed), value)
        assert len(found[0]) > 0
        assert same(found, detect(general_session, value)), shape


def test_a_level_gains_and_loses_its_selection_of_candidates() -> None:
    # At 256 the three finest levels have more anchors than 300; at 64 one has, at 544 four.
    counts = {}
    for shape in [(64, 64), (256, 256), (544, 544)]:
        graph = demo()
        reshaping.for_shape(graph, shape)
        counts[shape[0]] = sum(node.op_type == "TopK" for node in graph.nodes)
    assert counts == {64: 1, 256: 3, 544: 4}


def test_boxes_are_clipped_to_the_picture_and_not_to_its_padding() -> None:
    to_input, to_picture = demo(), demo()
    reshaping.for_any_shape(to_input)
    reshaping.for_any_shape(to_picture, "picture", reshaping.telling((123.675, 116.28, 103.53)))
    sessions = session(to_input), session(to_picture)
    value = picture(256, 320)
    value[:, :, 230:, :] = 0
    value[:, :, :, 301:] = 0
    inside, outside = detect(sessions[1], value)[0], detect(sessions[0], value)[0]
    assert inside[:, 2].max() <= 301
    assert inside[:, 3].max() <= 230
    assert outside[:, 3].max() > 230 or outside[:, 2].max() > 301
    full = picture(256, 320)
    assert same(detect(sessions[0], full), detect(sessions[1], full))


def test_a_network_that_sees_nothing_but_padding_finds_nothing_outside() -> None:
    graph = demo()
    reshaping.for_any_shape(graph, "picture", 0)
    boxes, labels = detect(session(graph), np.zeros((1, 3, 64, 64), np.float32))
    assert len(boxes) == len(labels)
    assert not boxes[:, :4].any()


@pytest.mark.parametrize(
    ("mean", "channel"), [((123.675, 116.28, 103.53), 0), ((0, 116.28, 0), 1), ((-3, 0, 0), 0)]
)
def test_the_channel_that_tells_a_picture_from_padding(mean: Any, channel: int) -> None:
    assert reshaping.telling(mean) == channel


def test_means_of_whole_numbers_cannot_tell_a_picture_from_padding() -> None:
    with pytest.raises(CascadeportError, match="cannot tell a picture from its padding"):
        reshaping.telling((104, 117, 123))


def test_a_shape_that_is_no_multiple_of_32_is_refused() -> None:
    with pytest.raises(CascadeportError, match="256x250"):
        reshaping.for_shape(demo(), (256, 250))


def _moved(graph: EditableGraph) -> None:
    graph.constants["cells_1"] = graph.constants["cells_1"] + np.float32(4)


def _other_border(graph: EditableGraph) -> None:
    clip = next(node for node in graph.nodes if node.op_type == "Clip" and node.name == "Clip_349")
    graph.constants["bound"] = np.array(250, np.float32)
    clip.input[2] = "bound"


def _fixed(graph: EditableGraph) -> None:
    node = next(node for node in graph.nodes if node.name == "Reshape_263")
    graph.constants["fixed"] = np.array([1140, 1, 4], np.int64)
    node.input[1] = "fixed"


def _other_ids(graph: EditableGraph) -> None:
    nms = next(node for node in graph.nodes if node.op_type == "ProposalNMS")
    graph.constants["ids"] = np.arange(1140, dtype=np.int64)
    nms.input[2] = "ids"


def _other_limit(graph: EditableGraph) -> None:
    topk = next(node for node in graph.nodes if node.op_type == "TopK")
    graph.constants["limit"] = np.array([200], np.int64)
    topk.input[1] = "limit"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_moved, "anchors of level 1 are not at multiples"),
        (_other_border, "another border"),
        (_fixed, "fixed shape"),
        (_other_ids, "level ids"),
        (_other_limit, "different numbers of candidates"),
    ],
)
def test_what_cannot_be_derived_is_refused(change: Any, why: str) -> None:
    graph = demo()
    change(graph)
    with pytest.raises(CascadeportError, match=why):
        reshaping.for_any_shape(graph)


def test_a_graph_that_was_reshaped_is_valid_onnx(tmp_path: Path) -> None:
    for shape in [None, (320, 480)]:
        graph = demo()
        if shape is None:
            reshaping.for_any_shape(graph, "picture")
        else:
            reshaping.for_shape(graph, shape)
        model = opset19.lower(graph)
        onnx.checker.check_model(model)
        sides = [
            side.dim_param or side.dim_value
            for side in model.graph.input[0].type.tensor_type.shape.dim
        ]
        assert sides == [1, 3, *(shape or ("height", "width"))]
