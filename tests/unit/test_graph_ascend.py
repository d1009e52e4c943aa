"""The Ascend graph: the properties that atc and CANN's plug-ins require."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport.backends.ascend import atc_graph, onnx_plugins
from cascadeport.backends.ascend.reference_executor import executable
from cascadeport.base.errors import CascadeportError
from cascadeport.graph.neutral import DOMAIN
from onnx import helper, numpy_helper

from tests.helpers.graph_models import FLOAT, picture_for, run, tiny_detector
from tests.helpers.lowering import lower


@pytest.fixture
def neutral(tmp_path: Path) -> Path:
    path = tmp_path / "neutral.onnx"
    onnx.save(tiny_detector(), str(path))
    return path


@pytest.fixture
def model(neutral: Path, tmp_path: Path) -> onnx.ModelProto:
    return onnx.load(str(lower(neutral, tmp_path / "ascend.onnx", "ascend").path))


def nodes(model: onnx.ModelProto, kind: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == kind]


def test_one_opset_no_domain_plain_names(model: onnx.ModelProto) -> None:
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 11)]
    assert {node.domain for node in model.graph.node} == {""}
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    values = [value for node in model.graph.node for value in (*node.input, *node.output)]
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in names + values)


def test_outputs_are_fixed_and_atc_gets_its_arguments(neutral: Path, tmp_path: Path) -> None:
    done = lower(neutral, tmp_path / "ascend.onnx", "ascend")
    model = onnx.load(str(done.path))
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in model.graph.output
    }
    assert shapes == {"boxes": [10, 5], "labels": [10]}
    atc = atc_graph.AtcArguments(**done.facts["atc"])
    assert atc.input_shape == "input:1,3,64,64"
    made = {
        f"{node.name}:{i}": out for node in model.graph.node for i, out in enumerate(node.output)
    }
    assert [made[name] for name in atc.out_nodes.split(";")] == ["boxes", "labels"]
    assert atc.aipp is None


def test_attributes_have_the_types_that_the_plug_ins_read(model: onnx.ModelProto) -> None:
    kinds = onnx.AttributeProto
    wanted = {
        "DeformableConv2D": {
            "strides": kinds.INTS, "pads": kinds.INTS, "dilations": kinds.INTS,
            "groups": kinds.INT, "deformable_groups": kinds.INT, "data_format": kinds.STRING,
            "modulated": kinds.INT,
        },
        "RoiExtractor": {
            "finest_scale": kinds.INT, "roi_scale_factor": kinds.FLOAT,
            "spatial_scale": kinds.FLOATS, "pooled_height": kinds.INT, "pooled_width": kinds.INT,
            "sample_num": kinds.INT, "pool_mode": kinds.STRING, "aligned": kinds.INT,
        },
        "BatchMultiClassNMS": {
            "score_threshold": kinds.FLOAT, "iou_threshold": kinds.FLOAT,
            "max_size_per_class": kinds.INT, "max_total_size": kinds.INT,
        },
    }  # fmt: skip
    for kind, attributes in wanted.items():
        found = nodes(model, kind)
        assert found, kind
        for node in found:
            assert {each.name: each.type for each in node.attribute} == attributes
    (conv,) = nodes(model, "DeformableConv2D")
    lengths = {each.name: len(each.ints) for each in conv.attribute if each.type == kinds.INTS}
    assert lengths == {"strides": 2, "pads": 2, "dilations": 2}


def test_the_offsets_convolution_computes_all_x_all_y_and_a_mask_of_ones(
    neutral: Path, model: onnx.ModelProto
) -> None:
    before = {t.name: numpy_helper.to_array(t) for t in onnx.load(str(neutral)).graph.initializer}
    after = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    conv = next(node for node in model.graph.node if node.name == "conv_offset")
    weight, bias = after[conv.input[1]], after[conv.input[2]]
    assert weight.shape == (27, 8, 3, 3)
    np.testing.assert_array_equal(weight[:9], before["w1"][1::2])  # x is second of each pair
    np.testing.assert_array_equal(weight[9:18], before["w1"][0::2])
    assert not weight[18:].any()
    np.testing.assert_array_equal(bias, [*before["b1"][1::2], *before["b1"][0::2], *np.ones(9)])
    assert not any(node.op_type == "Gather" and "dcn" in node.name for node in model.graph.node)


def test_offsets_from_elsewhere_are_reordered_in_the_graph(neutral: Path, tmp_path: Path) -> None:
    model = onnx.load(str(neutral))
    for node in model.graph.node:
        if node.name == "conv_offset":
            node.output[0] = "offset_before"
    tanh = helper.make_node("Tanh", ["offset_before"], ["offset"], name="tanh")
    model.graph.node.insert(2, tanh)
    onnx.save(model, str(neutral))
    faithful = {"proposals": 20, "across_levels": False}
    plain = lower(neutral, tmp_path / "plain.onnx", "onnxruntime").path
    ascend = lower(neutral, tmp_path / "ascend.onnx", "ascend", **faithful).path
    runnable = executable(ascend, tmp_path / "executable.onnx", "fp32")
    feeds = picture_for(model)
    (boxes, labels), (found, found_labels) = run(plain, feeds), run(runnable, feeds)
    np.testing.assert_allclose(found[: len(boxes)], boxes, atol=1e-4)
    np.testing.assert_array_equal(found_labels[: len(labels)], labels)


def test_padding_for_four_different_sides_is_refused(neutral: Path, tmp_path: Path) -> None:
    model = onnx.load(str(neutral))
    (conv,) = [node for node in model.graph.node if node.domain == DOMAIN and "pads" in str(node)]
    next(each for each in conv.attribute if each.name == "pads").ints[0] = 2
    onnx.save(model, str(neutral))
    with pytest.raises(CascadeportError, match="one padding") as caught:
        lower(neutral, tmp_path / "ascend.onnx", "ascend")
    assert "dcn" in caught.value.where


def test_padding_proposals_never_become_detections(tmp_path: Path) -> None:
    # Of 320 anchors, NMS leaves less than 300; the rest is filling.
    path = tmp_path / "neutral.onnx"
    onnx.save(tiny_detector(max_proposals=300, max_detections=900), str(path))
    faithful = {"proposals": 300, "across_levels": False}
    plain = lower(path, tmp_path / "plain.onnx", "onnxruntime").path
    ascend = lower(path, tmp_path / "ascend.onnx", "ascend", **faithful).path
    runnable = executable(ascend, tmp_path / "executable.onnx", "fp32")
    feeds = picture_for(onnx.load(str(runnable)))
    boxes, labels = run(plain, feeds)
    found, found_labels = run(runnable, feeds)
    real = found[:, 4] > 0
    np.testing.assert_allclose(found[real], boxes, atol=1e-4)
    np.testing.assert_array_equal(found_labels[real], labels)
    assert not (found[real][:, 2:4] == 0).any()


def test_aipp_has_the_mean_in_min_chn(neutral: Path, tmp_path: Path) -> None:
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    done = lower(neutral, tmp_path / "a.onnx", "ascend", input_dtype="uint8", mean=mean, std=std)
    atc = atc_graph.AtcArguments(**done.facts["atc"])
    assert atc.aipp is not None
    facts = dict(re.findall(r"(\w+): (\S+)", atc.aipp))
    assert [facts["src_image_size_w"], facts["src_image_size_h"]] == ["64", "64"]
    assert facts["input_format"] == "RGB888_U8"
    assert "mean_chn_0" not in facts
    for channel in range(3):
        assert float(facts[f"min_chn_{channel}"]) == mean[channel]
        assert float(facts[f"var_reci_chn_{channel}"]) == pytest.approx(1 / std[channel], rel=1e-15)
    # The graph itself keeps its float32 input: AIPP stands before it.
    assert onnx.load(str(done.path)).graph.input[0].type.tensor_type.elem_type == FLOAT


def test_changes_of_meaning_are_reported(neutral: Path, tmp_path: Path) -> None:
    changes = " ".join(lower(neutral, tmp_path / "a.onnx", "ascend").changes)
    for each in ("NMS in float16", "across pyramid levels", "deformable convolution", "thinner"):
        assert each in changes


# --- what the plug-ins read -----------------------------------------------------------------------


def nms(**attributes: object) -> onnx.NodeProto:
    given = {"score_threshold": 0.05, "iou_threshold": 0.5, "max_size_per_class": 10}
    given |= {"max_total_size": 10, **attributes}
    return helper.make_node("BatchMultiClassNMS", ["b", "s"], list("wxyz"), name="nms", **given)


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("iou_threshold", 1, "FLOAT"),
        ("score_threshold", 0, "FLOAT"),
        ("max_total_size", 10.0, "INT"),
        ("max_size_per_class", 10.0, "INT"),
    ],
)
def test_a_required_attribute_of_another_type_is_refused(
    name: str, value: float, kind: str
) -> None:
    with pytest.raises(CascadeportError, match=f"{name}.*must be {kind}.*not read"):
        onnx_plugins.read_batch_multi_class_nms(nms(**{name: value}))


def conv(**changes: object) -> onnx.NodeProto:
    given = {"strides": [2, 2], "pads": [1, 1], "dilations": [1, 1], "groups": 1, **changes}
    given = {name: value for name, value in given.items() if value is not None}
    return helper.make_node("DeformableConv2D", ["x", "w", "o"], ["y"], name="c", **given)


def test_strides_and_pads_take_one_or_two_numbers() -> None:
    attributes = onnx_plugins.read_deformable_conv_2d(conv(pads=[3], strides=[1, 2]))
    assert (attributes.strides, attributes.pads) == ((1, 2), (3, 3, 3, 3))
    for name in ("strides", "pads", "dilations"):
        with pytest.raises(CascadeportError, match=name):
            onnx_plugins.read_deformable_conv_2d(conv(**{name: [1, 1, 1, 1]}))


def test_groups_is_required() -> None:
    with pytest.raises(CascadeportError, match="groups"):
        onnx_plugins.read_deformable_conv_2d(conv(groups=None))


def test_optional_attributes_of_another_type_are_ignored() -> None:
    node = helper.make_node(
        "RoiExtractor", ["f", "r"], ["y"], roi_scale_factor=2, finest_scale=28.0, aligned=0.0
    )
    attributes = onnx_plugins.read_roi_extractor(node)
    assert (attributes.roi_scale_factor, attributes.finest_scale, attributes.aligned) == (
        0.0,
        56,
        True,
    )


def small(node: onnx.NodeProto, *, imports: list[tuple[str, int]] | None = None) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "test",
        [helper.make_tensor_value_info("x", FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", FLOAT, [1, 3])],
    )
    opsets = [helper.make_opsetid(*entry) for entry in imports or [("", 11)]]
    return helper.make_model(graph, opset_imports=opsets)


@pytest.mark.parametrize(
    ("node", "imports", "problem"),
    [
        (helper.make_node("Relu", ["x"], ["y"]), [("", 11), ("mmcv", 1)], "must import one opset"),
        (helper.make_node("Relu", ["x"], ["y"]), [("", 11), ("", 12)], "must import one opset"),
        (helper.make_node("Relu", ["x"], ["y"]), [("", 19)], "must import one opset"),
        (helper.make_node("NMS", ["x"], ["y"], domain="mmcv"), None, "domain mmcv has no parser"),
        (helper.make_node("NonZero", ["x"], ["y"]), None, "depends on the picture"),
        (helper.make_node("DeformConv", ["x", "x", "x"], ["y"]), None, "no parser knows"),
        (nms(max_total_size=1001), None, "at most 1000"),
        (conv(data_format="NHWC"), None, "NCHW"),
    ],
)
def test_a_graph_that_atc_would_refuse_is_refused_before(
    node: onnx.NodeProto, imports: list[tuple[str, int]] | None, problem: str
) -> None:
    with pytest.raises(CascadeportError) as caught:
        onnx_plugins.check(small(node, imports=imports))
    assert any(problem in detail for detail in caught.value.details)


def test_dynamic_shapes_are_refused() -> None:
    model = small(helper.make_node("Relu", ["x"], ["y"]))
    onnx_plugins.check(model)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(CascadeportError):
        onnx_plugins.check(model)
