"""The reference executor: each documented rule, by a case that its opposite would decide otherwise.

docs/lowering.md names where each rule was read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cascadeport.backends.ascend.arithmetic import Arithmetic
from cascadeport.backends.ascend.reference_executor import EXACT, executable
from cascadeport.base.errors import CascadeportError
from onnx import helper, numpy_helper

from tests.helpers.graph_models import (
    FLOAT,
    naive_deform_conv,
    naive_roi_align,
    overlap,
    random_boxes,
    run,
)

FLOAT16 = onnx.TensorProto.FLOAT16
draw = np.random.default_rng(5)


def simulate(
    folder: Path,
    nodes: list[onnx.NodeProto],
    feeds: dict[str, np.ndarray],
    outputs: dict[str, tuple[int, ...]],
    constants: dict[str, np.ndarray] | None = None,
    arithmetic: str = "fp16",
    kernels: Arithmetic | None = None,
) -> list[Any]:
    """Runs nodes of an Ascend graph in the executor."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, FLOAT, each.shape) for name, each in feeds.items()],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in outputs.items()],
        [numpy_helper.from_array(each, name) for name, each in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    onnx.save(model, str(folder / "ascend.onnx"))
    out = executable(folder / "ascend.onnx", folder / f"{arithmetic}.onnx", arithmetic, kernels)
    return run(out, feeds)


def half(array: Any) -> np.ndarray:
    return np.asarray(array, np.float16).astype(np.float32)


# --- DeformableConv2D -----------------------------------------------------------------------------


def convolve(
    folder: Path, x: np.ndarray, weight: np.ndarray, offsets: np.ndarray, arithmetic: str
) -> np.ndarray:
    node = helper.make_node(
        "DeformableConv2D", ["x", "weight", "offsets"], ["y"], name="dcn", strides=[1, 1],
        pads=[1, 1], dilations=[1, 1], groups=1, deformable_groups=1, data_format="NCHW",
    )  # fmt: skip
    shape = (1, len(weight), *offsets.shape[2:])
    feeds = {"x": x, "offsets": offsets}
    return simulate(folder, [node], feeds, {"y": shape}, {"weight": weight}, arithmetic)[0]


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
def test_offsets_are_all_x_all_y_then_the_mask(tmp_path: Path, arithmetic: str) -> None:
    x, weight = half(draw.normal(size=(1, 2, 6, 7))), half(draw.normal(size=(3, 2, 3, 3)))
    x_offset, y_offset = half(draw.normal(size=(2, 1, 9, 6, 7)))
    mask = np.ones((1, 9, 6, 7), np.float32)
    found = convolve(tmp_path, x, weight, np.concatenate([x_offset, y_offset, mask], 1), arithmetic)
    pairs = np.stack([y_offset, x_offset], axis=2).reshape(1, 18, 6, 7)
    expected = naive_deform_conv(x, weight, pairs)
    np.testing.assert_allclose(found, expected, atol=1e-5 if arithmetic == "fp32" else 2e-2)


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
def test_samples_are_multiplied_by_the_mask(tmp_path: Path, arithmetic: str) -> None:
    x, weight = np.ones((1, 1, 4, 4), "f4"), np.ones((1, 1, 3, 3), "f4")
    offsets = np.zeros((1, 27, 4, 4), "f4")
    offsets[:, 18 + 4] = 0.25  # the mask of the middle sample; the others are 0
    found = convolve(tmp_path, x, weight, offsets, arithmetic)
    np.testing.assert_array_equal(found, np.full((1, 1, 4, 4), 0.25))


def middle_only() -> tuple[np.ndarray, np.ndarray]:
    """A weight that passes the middle sample, and offsets that move nothing."""
    weight, offsets = np.zeros((1, 1, 3, 3), "f4"), np.zeros((1, 27, 4, 4), "f4")
    weight[0, 0, 1, 1] = 1
    offsets[:, 18:] = 1
    return weight, offsets


def test_the_product_multiplies_float16_numbers(tmp_path: Path) -> None:
    weight, offsets = middle_only()
    x = np.full((1, 1, 4, 4), 2049, "f4")  # float16 has 2048 and 2050 there
    assert convolve(tmp_path, x, weight, offsets, "fp16").max() == 2048
    assert convolve(tmp_path, x, weight, offsets, "fp32").max() == 2049
    weight *= 1 + 2**-12
    x[:] = 1024
    assert convolve(tmp_path, x, weight, offsets, "fp16").max() == 1024
    assert convolve(tmp_path, x, weight, offsets, "fp32").max() == 1024.25


def test_samples_are_rounded_and_sums_are_not(tmp_path: Path) -> None:
    weight, offsets = middle_only()
    # Between 2048 and 2050, a quarter of the way: 2048.5, which float16 does not have.
    x = np.tile(np.array([2048, 2050], "f4"), (1, 1, 4, 2))
    offsets[:, 4] = 0.25
    assert convolve(tmp_path, x, weight, offsets, "fp16")[0, 0, 1, 2] == 2048
    assert convolve(tmp_path, x, weight, offsets, "fp32")[0, 0, 1, 2] == 2048.5
    # 2048 and eight times 1: a sum in float16 would lose every single 1.
    x, weight = np.ones((1, 1, 4, 4), "f4"), np.ones((1, 1, 3, 3), "f4")
    x[0, 0, 1, 1] = 2048
    assert convolve(tmp_path, x, weight, middle_only()[1], "fp16")[0, 0, 1, 1] == 2056


def test_positions_are_not_rounded_to_float16(tmp_path: Path) -> None:
    # At 150 float16 has only eighths of a pixel. Offset and position are added in float32.
    weight = middle_only()[0]
    offsets = np.zeros((1, 27, 1, 200), "f4")
    offsets[:, 18:] = 1
    offsets[:, 4] = 7 / 16
    stripes = (np.arange(200) % 2).astype("f4").reshape(1, 1, 1, 200)
    assert convolve(tmp_path, stripes, weight, offsets, "fp16")[0, 0, 0, 150] == 7 / 16


# --- RoiExtractor ---------------------------------------------------------------------------------


def extract(
    folder: Path,
    features: list[np.ndarray],
    boxes: np.ndarray,
    arithmetic: str = "fp16",
    kernels: Arithmetic | None = None,
) -> np.ndarray:
    feeds = {f"p{level}": each for level, each in enumerate(features)}
    feeds["rois"] = np.concatenate([np.zeros((len(boxes), 1)), boxes], 1).astype("f4")
    node = helper.make_node(
        "RoiExtractor", list(feeds), ["y"], name="roi", finest_scale=56, roi_scale_factor=0.0,
        spatial_scale=[1 / 4 / 2**level for level in range(len(features))], pooled_height=7,
        pooled_width=7, sample_num=0, pool_mode="avg", aligned=1,
    )  # fmt: skip
    shape = (len(boxes), features[0].shape[1], 7, 7)
    return simulate(folder, [node], feeds, {"y": shape}, None, arithmetic, kernels)[0]


def flat_levels() -> list[np.ndarray]:
    """Four levels; each is its own number everywhere."""
    return [np.full((1, 1, 128 >> i, 128 >> i), i, np.float32) for i in range(4)]


def test_a_box_between_two_levels_belongs_to_the_finer_one(tmp_path: Path) -> None:
    sides = [111, 112, 113, 224, 225, 448, 449]
    boxes = np.array([[10, 10, 10 + side, 10 + side] for side in sides], "f4")
    found = extract(tmp_path, flat_levels(), boxes)
    # mmdet puts 112, 224 and 448 one level higher: floor(log2(2)) is 1.
    assert found[:, 0, 3, 3].tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_the_root_of_the_area_is_rounded_to_float16(tmp_path: Path) -> None:
    # float16 has quarters above 256: 448.1 becomes 448, which is not above it.
    boxes = np.array([[10, 10, 458.1, 458.1]], "f4")
    assert extract(tmp_path, flat_levels(), boxes, "fp16")[0, 0, 3, 3] == 2
    assert extract(tmp_path, flat_levels(), boxes, "fp32")[0, 0, 3, 3] == 3


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16"])
def test_a_thin_roi_is_widened_to_one_cell(tmp_path: Path, arithmetic: str) -> None:
    feature = draw.normal(size=(1, 3, 64, 64)).astype("f4")
    boxes = np.array([[100, 20, 101.5, 90], [40, 60, 140, 61]], "f4")
    found = extract(tmp_path, [feature], boxes, arithmetic)
    for box, crop in zip(boxes, found, strict=True):
        thin = naive_roi_align(feature, box, 0.25, (7, 7))
        # At least one cell of 4 pixels, on the far side.
        box[2:] = np.maximum(box[2:], box[:2] + 4)
        widened = naive_roi_align(feature, box, 0.25, (7, 7))
        np.testing.assert_allclose(crop, widened, atol=1e-4)
        assert np.abs(crop - thin).max() > 0.1


def test_the_number_of_samples_follows_the_size_of_the_roi(tmp_path: Path) -> None:
    feature = draw.normal(size=(1, 3, 64, 64)).astype("f4")
    boxes = np.array([[10, 10, 50, 110]], "f4")  # 10 x 25 cells: 2 x 4 samples a bin
    found = extract(tmp_path, [feature], boxes)
    expected = naive_roi_align(feature, boxes[0], 0.25, (7, 7))
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


# --- BatchMultiClassNMS ---------------------------------------------------------------------------


def suppress(
    folder: Path,
    boxes: Any,
    scores: Any,
    arithmetic: str = "fp16",
    kernels: Arithmetic | None = None,
    **changes: Any,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """boxes (N,4), scores (N,C) -> boxes (n,4), scores (n), classes (n)."""
    boxes, scores = np.asarray(boxes, "f4"), np.asarray(scores, "f4")
    attributes = {"score_threshold": 0.05, "iou_threshold": 0.5, "max_size_per_class": 5}
    attributes |= {"max_total_size": 5, **changes}
    count, classes = scores.shape
    table = np.broadcast_to(boxes[None, :, None], (1, count, classes, 4)).copy()
    nodes = [
        helper.make_node("Cast", ["b"], ["b16"], to=FLOAT16),
        helper.make_node("Cast", ["s"], ["s16"], to=FLOAT16),
        helper.make_node("BatchMultiClassNMS", ["b16", "s16"], ["nb", "ns", "nc", "nn"],
                         name="nms", **attributes),
    ]  # fmt: skip
    nodes += [helper.make_node("Cast", [n], [f"{n}32"], to=FLOAT) for n in ("nb", "ns", "nc")]
    total = attributes["max_total_size"]
    shapes = {"nb32": (1, total, 4), "ns32": (1, total), "nc32": (1, total)}
    feeds = {"b": table, "s": scores[None]}
    found = simulate(folder, nodes, feeds, shapes, None, arithmetic, kernels)
    return found[0][0], found[1][0], found[2][0]


def test_output_boxes_are_rounded_twice(tmp_path: Path) -> None:
    box = np.array([3.3, 700.7, 1000.9, 1215.4], "f4")
    found, scores, _ = suppress(tmp_path, [box], [[0.7]])
    f16 = np.float16
    tenth = f16(box.astype(f16) * f16(0.1))
    tenth[2:] = f16(f16(tenth[2:] - f16(1)) + f16(1))
    np.testing.assert_array_equal(found[0], (tenth * f16(10)).astype("f4"))
    assert scores[0] == half(0.7)
    # Neither the box itself, nor the box as plain float16 would hold it.
    assert np.abs(found[0] - box).max() > 0.1
    assert (found[0] != half(box)).any()
    np.testing.assert_array_equal(suppress(tmp_path, [box], [[0.7]], "fp32")[0][0], box)


def test_unused_rows_are_zero(tmp_path: Path) -> None:
    boxes, scores, classes = suppress(tmp_path, [[0, 0, 10, 10]], [[0.1, 0.9]])
    assert scores.tolist() == [half(0.9), half(0.1), 0, 0, 0]
    assert classes.tolist() == [1, 0, 0, 0, 0]
    assert not boxes[2:].any()


def test_overlaps_are_those_of_rounded_boxes(tmp_path: Path) -> None:
    # 1000 x 100 pixels, the second moved by 334: the overlap is 666 of 1334, below a half. In
    # float16 the tenths are 33.4 -> 33.40625 and so on; choose a pair that rounding turns over.
    first = np.array([0, 0, 1000, 100], "f4")
    turned = []
    for shift in np.arange(333.0, 334.0, 0.05):
        second = first + np.array([shift, 0, shift, 0], "f4")
        kept16 = (suppress(tmp_path, [first, second], [[0.9], [0.8]])[1] > 0).sum()
        kept32 = (suppress(tmp_path, [first, second], [[0.9], [0.8]], "fp32")[1] > 0).sum()
        turned.append(kept16 != kept32)
    assert any(turned)
    assert not all(turned)


def test_a_score_must_be_greater_than_the_threshold(tmp_path: Path) -> None:
    boxes = [[0, 0, 10, 10], [50, 50, 60, 60]]
    scores = suppress(tmp_path, boxes, [[0.5], [0.25]], score_threshold=0.25)[1]
    assert (scores > 0).tolist() == [True, False, False, False, False]


def test_classes_do_not_suppress_each_other_and_equal_boxes_of_one_class_do(tmp_path: Path) -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10]]
    scores, classes = suppress(tmp_path, boxes, [[0.9, 0.3], [0.8, 0.6]])[1:]
    assert scores[:3].tolist() == [half(0.9), half(0.6), 0]
    assert classes[:2].tolist() == [0, 1]


def test_limits_per_class_and_in_total(tmp_path: Path) -> None:
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(6)]
    scores = np.linspace(0.9, 0.4, 6)[:, None] * [[1, 0.5]]
    kept, classes = suppress(tmp_path, boxes, scores, max_size_per_class=2, max_total_size=5)[1:]
    assert (kept > 0).sum() == 4
    assert sorted(classes[:4].tolist()) == [0, 0, 1, 1]
    kept = suppress(tmp_path, boxes, scores, max_size_per_class=6, max_total_size=3)[1]
    np.testing.assert_array_equal(kept, half([0.9, 0.8, 0.7]))


# --- releases -------------------------------------------------------------------------------------

# The vendor's reference for the newer kernel of NMS (docs/lowering.md).
NEWER = Arithmetic(iou_factor=1.0, whole_pixels=False, empty_boxes=False)


def plain_nms(
    boxes: np.ndarray, scores: np.ndarray, per_class: int, total: int
) -> list[tuple[float, int, list[float]]]:
    """What the newer kernel keeps, said plainly: score, class and box, by descending score."""
    kept: list[tuple[float, int, list[float]]] = []
    for label in range(scores.shape[1]):
        own: list[int] = []
        for index in np.argsort(-scores[:, label], kind="stable"):
            x0, y0, x1, y1 = boxes[index]
            if scores[index, label] <= 0.05 or x1 <= x0 or y1 <= y0 or len(own) == per_class:
                continue
            if all(overlap(boxes[index], boxes[other]) <= 0.5 for other in own):
                own.append(int(index))
        kept += [(float(scores[index, label]), label, boxes[index].tolist()) for index in own]
    return sorted(kept, key=lambda each: -each[0])[:total]


@pytest.mark.parametrize("seed", range(5))
def test_nms_of_a_newer_release_is_plain(tmp_path: Path, seed: int) -> None:
    own = np.random.default_rng(seed)
    boxes = half(random_boxes(own, 30, 200.0))
    boxes[::7, 2] = boxes[::7, 0]  # without area
    scores = half(own.permutation(120).reshape(30, 4) / 200 + 0.01)
    found, kept, classes = suppress(
        tmp_path, boxes, scores, kernels=NEWER, max_size_per_class=4, max_total_size=12
    )
    expected = plain_nms(boxes, scores, 4, 12)
    assert len(expected) > 8
    assert [(s, int(c), b.tolist()) for s, c, b in zip(kept, classes, found, strict=True) if s] == (
        expected
    )


def test_a_box_without_area_takes_part_in_5_1_only(tmp_path: Path) -> None:
    boxes, scores = [[10, 10, 10, 60], [100, 10, 150, 60]], [[0.9], [0.8]]
    assert (suppress(tmp_path, boxes, scores)[1] > 0).sum() == 2
    assert suppress(tmp_path, boxes, scores, kernels=NEWER)[1][:2].tolist() == [half(0.8), 0]


def test_boxes_are_rounded_once_without_the_factor(tmp_path: Path) -> None:
    box = np.array([3.3, 700.7, 1000.9, 1215.4], "f4")
    found = suppress(tmp_path, [box], [[0.7]], kernels=NEWER)[0]
    np.testing.assert_array_equal(found[0], half(box))


def test_exact_leaves_thin_rois_thin(tmp_path: Path) -> None:
    feature = draw.normal(size=(1, 3, 64, 64)).astype("f4")
    boxes = np.array([[100, 20, 101.5, 90]], "f4")
    found = extract(tmp_path, [feature], boxes, "fp32", EXACT)
    thin = naive_roi_align(feature, boxes[0], 0.25, (7, 7))
    np.testing.assert_allclose(found[0], thin, atol=1e-4)


# --- arithmetic everywhere ------------------------------------------------------------------------


def test_force_fp16_rounds_after_every_operator_and_fp16_does_not(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "one"], ["y"], name="add"),
        helper.make_node("Sub", ["y", "big"], ["z"], name="sub"),
    ]
    constants = {"one": np.float32([1]), "big": np.float32([2048])}
    x = np.float32([2048])
    for arithmetic, expected in {"fp32": 1, "fp16": 1, "force_fp16": 0}.items():
        found = simulate(tmp_path, nodes, {"x": x}, {"z": (1,)}, constants, arithmetic)
        assert found[0] == expected, arithmetic


def test_force_fp16_overflows_where_float16_does(tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "x"], ["y"], name="mul")]
    x = np.float32([300])
    assert np.isinf(simulate(tmp_path, nodes, {"x": x}, {"y": (1,)}, None, "force_fp16")[0])
    assert simulate(tmp_path, nodes, {"x": x}, {"y": (1,)}, None, "fp16")[0] == 90000


def test_sums_inside_a_convolution_are_float32(tmp_path: Path) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    x, weight = np.ones((1, 9, 1, 1), "f4"), np.ones((1, 9, 1, 1), "f4")
    x[0, 0] = 2048
    feeds, shapes = {"x": x}, {"y": (1, 1, 1, 1)}
    found = simulate(tmp_path, [node], feeds, shapes, {"w": weight}, "force_fp16")
    assert found[0].item() == 2056


def test_an_attribute_that_the_plug_in_does_not_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError) as caught:
        suppress(tmp_path, [[0, 0, 1, 1]], [[0.5]], iou_threshold=1)
    assert any("iou_threshold" in detail for detail in caught.value.details)


def test_unknown_arithmetic(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="bfloat16"):
        executable(tmp_path / "x.onnx", tmp_path / "y.onnx", "bfloat16")
