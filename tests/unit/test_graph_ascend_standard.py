"""The lowering for Ascend in standard operators: each rule by its definition, and in float16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport import backends
from cascadeport.backends.ascend import onnx_plugins, standard_nms
from cascadeport.backends.ascend.atc_graph import finish
from cascadeport.backends.ascend.reference_executor import EXACT, executable
from cascadeport.backends.ascend.standard_deform import deform_conv
from cascadeport.backends.ascend.standard_lowering import AscendStandard
from cascadeport.backends.ascend.standard_roi import roi_extractor
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import targets
from cascadeport.config.options import Options
from cascadeport.graph import LoweringRequest, neutral
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.rewriting import Rule, rewrite
from onnx import TensorProto, helper, shape_inference

from tests.helpers.graph_models import (
    model_of,
    naive_deform_conv,
    naive_nms,
    naive_roi_align,
    picture_for,
    random_boxes,
    run,
    tiny_detector,
)

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
draw = np.random.default_rng(11)


def lowered(model: onnx.ModelProto, folder: Path, **request: object) -> Path:
    onnx.save(model, str(folder / "neutral.onnx"))
    wanted = LoweringRequest(**{"across_levels": False, "proposals": 10**6, **request})  # type: ignore[arg-type]
    return AscendStandard().lower(folder / "neutral.onnx", folder / "lowered.onnx", wanted).path


def rewritten(
    model: onnx.ModelProto, rules: dict[str, Rule], shapes: list[list[int]], out: Path
) -> Path:
    """A graph of one neutral operator, as atc would get it."""
    graph = EditableGraph(model)
    rewrite(graph, rules)
    onnx.save(finish(graph, shapes), str(out))
    return out


def in_float16(path: Path, folder: Path) -> Path:
    """What the graph computes where atc makes every tensor float16."""
    return executable(path, folder / "half.onnx", "force_fp16")


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    return lowered(tiny_detector(), tmp_path)


# --- what atc takes -------------------------------------------------------------------------------


def test_every_shape_is_fixed_and_every_operator_has_a_parser(detector: Path) -> None:
    model = onnx.load(str(detector))
    onnx_plugins.check(model)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 11)]
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    known = {value.name: value for value in [*inferred.graph.value_info, *inferred.graph.output]}
    for node in model.graph.node:
        assert node.op_type in onnx_plugins.PARSED
        assert node.op_type not in onnx_plugins.DYNAMIC
        for name in node.output:
            sides = known[name].type.tensor_type.shape.dim
            assert all(side.HasField("dim_value") for side in sides), name


def test_the_documentation_lists_its_operators(detector: Path) -> None:
    used = {node.op_type for node in onnx.load(str(detector)).graph.node}
    text = (REPOSITORY / "docs" / "lowering.md").read_text()
    section = text[text.index("## Ascend without CANN's operators") :]
    listed = section[section.index("It uses ") : section.index("onnx_plugins.PARSED")]
    assert [name for name in sorted(used) if f"`{name}`" not in listed] == []


def test_integers_never_meet_the_index_of_topk_without_a_cast(detector: Path) -> None:
    # CANN's TopK gives int32 where ONNX says int64.
    graph = onnx.load(str(detector)).graph
    for node in graph.node:
        if node.op_type == "TopK":
            readers = [one for one in graph.node if node.output[1] in one.input]
            assert all(one.op_type == "Cast" for one in readers)


# --- detections -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_detects_what_the_neutral_graph_does(tmp_path: Path, seed: int) -> None:
    path = lowered(tiny_detector(), tmp_path)
    faithful = executable(path, tmp_path / "exact.onnx", "fp32", EXACT)
    feeds = picture_for(onnx.load(str(path)), seed)
    reference = backends.lowering("onnxruntime").lower(
        tmp_path / "neutral.onnx", tmp_path / "onnxruntime.onnx"
    )
    boxes, labels = run(reference.path, feeds)
    found, classes = run(faithful, feeds)
    assert len(boxes) > 3
    np.testing.assert_allclose(found[: len(boxes)], boxes, atol=1e-4)
    np.testing.assert_array_equal(classes[: len(boxes)], labels)
    assert not found[len(boxes) :].any()


def test_it_declares_what_it_changes(tmp_path: Path) -> None:
    onnx.save(tiny_detector(), str(tmp_path / "neutral.onnx"))
    done = AscendStandard().lower(tmp_path / "neutral.onnx", tmp_path / "lowered.onnx")
    changes = " ".join(done.changes)
    for each in ("NMS in the precision", "32 rounds", "4096", "thinner", "across pyramid levels"):
        assert each in changes


# --- deformable convolution -----------------------------------------------------------------------


def convolution(
    x: np.ndarray, weight: np.ndarray, offset: np.ndarray, groups: int
) -> onnx.ModelProto:
    node = helper.make_node(
        "DeformConv", ["input", "weight", "offset"], ["y"], name="dcn", domain=neutral.DOMAIN,
        strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], deform_groups=groups,
    )  # fmt: skip
    shapes = {"input": x.shape, "offset": offset.shape}
    return model_of([node], shapes, {"y": FLOAT}, {"weight": weight})


def convolved(
    folder: Path, x: np.ndarray, weight: np.ndarray, offset: np.ndarray, groups: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """In float32, and where every tensor is float16."""

    model = convolution(x, weight, offset, groups)
    shape = [1, len(weight), *offset.shape[2:]]
    path = rewritten(model, {"DeformConv": deform_conv}, [shape], folder / "dcn.onnx")
    feeds = {"input": x, "offset": offset}
    return run(path, feeds)[0], run(in_float16(path, folder), feeds)[0]


@pytest.mark.parametrize("groups", [1, 2])
def test_deformable_convolution_is_that_of_its_definition(tmp_path: Path, groups: int) -> None:
    x = draw.normal(size=(1, 4, 6, 9)).astype("f4")
    weight = draw.normal(size=(3, 4, 3, 3)).astype("f4")
    offset = draw.normal(0, 3, size=(1, 18 * groups, 6, 9)).astype("f4")
    offset[0, :, 0, 0] = -1e6  # far outside
    offset[0, :, 0, 1] = 1e6
    offset[0, :, 0, 2] = 0
    found, _ = convolved(tmp_path, x, weight, offset, groups)
    expected = naive_deform_conv(x, weight, offset, deform_groups=groups)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_positions_beyond_float16_are_exact_in_float16(tmp_path: Path) -> None:
    # 150 x 170 pixels: the index does not fit float16, and positions have eighths of a pixel there.
    x = draw.normal(size=(1, 1, 150, 170)).astype("f2").astype("f4")
    offset = np.tile(draw.integers(-8, 8, size=(1, 18, 1, 1)) / 16, (1, 1, 150, 170)).astype("f4")
    weight = np.zeros((1, 1, 3, 3), "f4")
    weight[0, 0, 1, 1] = 1
    found, half = convolved(tmp_path, x, weight, offset)
    assert np.abs(half - found).max() < 0.02


# --- NMS ------------------------------------------------------------------------------------------


def kept(
    folder: Path, boxes: np.ndarray, scores: np.ndarray, levels: np.ndarray, limit: int, iou: float
) -> np.ndarray:
    """Rows (limit,5) of ProposalNMS."""

    node = helper.make_node(
        "ProposalNMS", ["input", "scores", "levels"], ["y"], name="nms", domain=neutral.DOMAIN,
        iou_threshold=iou, max_detections=limit,
    )  # fmt: skip
    shapes = {"input": boxes.shape, "scores": scores.shape}
    model = model_of([node], shapes, {"y": FLOAT}, {"levels": levels})
    rules: dict[str, Rule] = {"ProposalNMS": standard_nms.StandardNms().proposal_nms}
    path = rewritten(model, rules, [[limit, 5]], folder / "nms.onnx")
    return np.asarray(run(path, {"input": boxes, "scores": scores})[0])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("limit", [15, 400])
def test_nms_keeps_what_greedy_nms_does(tmp_path: Path, seed: int, limit: int) -> None:
    own = np.random.default_rng(seed)
    boxes = random_boxes(own, 300, 100.0)
    scores = (own.permutation(300) / 300 + 0.001).astype("f4")
    levels = np.sort(own.integers(0, 3, 300))
    found = kept(tmp_path, boxes, scores, levels, limit, 0.4)
    expected = naive_nms(boxes, scores, levels, 0.4, limit)
    assert len(expected) > 10
    np.testing.assert_array_equal(found[: len(expected), :4], boxes[expected])
    np.testing.assert_array_equal(found[: len(expected), 4], scores[expected])
    assert not found[len(expected) :].any()


def test_a_chain_is_settled_up_to_the_number_of_rounds(tmp_path: Path) -> None:
    # Each box overlaps the next by more than a half, and no other: greedy NMS keeps every second.
    def chain(length: int) -> list[int]:
        left = np.arange(length, dtype="f4") * 30
        boxes = np.stack([left, 0 * left, left + 100, 0 * left + 100], axis=1)
        scores = np.linspace(0.9, 0.5, length, dtype="f4")
        found = kept(tmp_path, boxes, scores, np.zeros(length, int), length, 0.5)
        return [int(box[0] / 30) for box in found if box[4] > 0]

    rounds = standard_nms.ROUNDS
    assert chain(rounds) == list(range(0, rounds, 2))
    assert chain(2 * rounds)[: rounds // 2] == list(range(0, rounds, 2))
    assert chain(2 * rounds) != list(range(0, 2 * rounds, 2))


def test_boxes_without_area_do_not_disturb(tmp_path: Path) -> None:
    boxes = np.array([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]], "f4")
    found = kept(tmp_path, boxes, np.float32([0.9, 0.8, 0.7]), np.zeros(3, int), 3, 0.5)
    assert (found[:, 4] > 0).all()


def test_overlaps_of_large_boxes_are_right_in_float16(tmp_path: Path) -> None:
    # Areas of a million pixels: float16 ends at 65504.
    boxes = np.array([[0, 0, 1000, 1000], [8, 8, 1000, 1000], [600, 600, 1200, 1200]], "f4")
    kept(tmp_path, boxes, np.float32([0.9, 0.8, 0.7]), np.zeros(3, int), 3, 0.5)
    half = in_float16(tmp_path / "nms.onnx", tmp_path)
    found = run(half, {"input": boxes, "scores": np.float32([0.9, 0.8, 0.7])})[0]
    np.testing.assert_array_equal(found[:2, :4], boxes[[0, 2]])
    assert found[2, 4] == 0


@pytest.mark.parametrize("own_boxes", [False, True])
def test_classes_do_not_suppress_each_other(tmp_path: Path, own_boxes: bool) -> None:
    count, classes = 20, 3
    boxes = random_boxes(draw, count, 60.0)
    scores = draw.uniform(0, 1, (count, classes)).astype("f4")
    table = np.repeat(boxes, classes, axis=0) if own_boxes else boxes
    node = helper.make_node(
        "MultiClassNMS", ["input", "scores"], ["boxes", "labels"], name="nms",
        domain=neutral.DOMAIN, score_threshold=0.3, iou_threshold=0.3, max_detections=12,
    )  # fmt: skip

    given = table.reshape(count, -1)
    shapes = {"input": given.shape, "scores": scores.shape}
    outputs = {"boxes": FLOAT, "labels": INT64}
    model = model_of([node], shapes, outputs, {"real": np.ones((count, 1), "f4")})
    nms = standard_nms.StandardNms()
    nms.real, nms.proposals = "real", count
    rules: dict[str, Rule] = {"MultiClassNMS": nms.multi_class_nms}
    path = rewritten(model, rules, [[12, 5], [12]], tmp_path / "nms.onnx")
    found, labels = run(path, {"input": given, "scores": scores})

    flat = np.where(scores > 0.3, scores, 0).reshape(-1)
    every = np.repeat(boxes, classes, axis=0)
    expected = naive_nms(every, flat, np.tile(np.arange(classes), count), 0.3, 12)
    expected = [index for index in expected if flat[index] > 0]
    assert len(expected) > 6
    np.testing.assert_array_equal(found[: len(expected), :4], every[expected])
    np.testing.assert_array_equal(labels[: len(expected)], np.array(expected) % classes)


# --- RoIs -----------------------------------------------------------------------------------------


def test_rois_are_cropped_from_their_levels_and_thin_ones_widened(tmp_path: Path) -> None:

    features = [draw.normal(size=(1, 2, 64 >> i, 64 >> i)).astype("f4") for i in range(3)]
    boxes = np.array(
        [[10, 20, 60, 80], [0, 0, 112, 112], [5, 5, 250, 250], [30, 30, 32, 90], [7, 7, 7, 7]], "f4"
    )
    wanted = [0, 1, 2, 0, 0]  # by the root of the area: 54.8, 112, 245, ...
    names = [f"p{i}" for i in range(3)]
    node = helper.make_node(
        "RoiExtractor", [*names, "rois"], ["y"], name="roi", domain=neutral.DOMAIN,
        output_size=[7, 7], spatial_scales=[1 / 4, 1 / 8, 1 / 16], finest_scale=56,
        sampling_ratio=0, aligned=1,
    )  # fmt: skip
    shapes = {name: each.shape for name, each in zip(names, features, strict=True)}
    model = model_of([node], {**shapes, "rois": (5, 5)}, {"y": FLOAT}, {})
    rules: dict[str, Rule] = {"RoiExtractor": roi_extractor}
    path = rewritten(model, rules, [[5, 2, 7, 7]], tmp_path / "roi.onnx")
    feeds = dict(zip(names, features, strict=True))
    feeds["rois"] = np.concatenate([np.zeros((5, 1)), boxes], axis=1).astype("f4")

    found = run(path, feeds)[0]
    thin = run(executable(path, tmp_path / "exact.onnx", "fp32", EXACT), feeds)[0]
    for index, (box, level) in enumerate(zip(boxes, wanted, strict=True)):
        scale = 1 / 4 / 2**level
        exact = naive_roi_align(features[level], box, scale, (7, 7))
        np.testing.assert_allclose(thin[index], exact, atol=1e-4)
        wide = box.copy()
        wide[2:] = np.maximum(wide[2:], wide[:2] + 1 / scale)
        cells = naive_roi_align(features[level], wide, scale, (7, 7))
        np.testing.assert_allclose(found[index], cells, atol=1e-4)


# --- choosing it ----------------------------------------------------------------------------------


def backend(name: str) -> backends.Backend:
    return backends.of(targets.load(REPOSITORY / "targets.toml", backends.row)[name])


def test_a_row_or_an_option_chooses_it() -> None:
    ascend = backend("310P3")
    asked = Options(target="310P3", lowering="ascend-standard")
    assert ascend.chosen_lowering(Options(target="310P3"), "docker").lowering.name == "ascend"
    assert ascend.chosen_lowering(asked, "docker").lowering.name == "ascend-standard"
    assert ascend.variant(asked).name == "ascend-standard"
    assert ascend.variant(Options(target="310P3", lowering="ascend")).name == ""
    both = Options(target="310P3", lowering="ascend-standard", bins=True)
    assert ascend.variant(both).name == "ascend-standard-bins"
    row = ascend.target.model_copy(update={"lowering": "ascend-standard"})
    own = type(ascend)(row)
    assert own.lowering("docker").lowering.name == "ascend-standard"
    assert own.variant(asked).name == ""


def test_an_unknown_lowering_names_the_known_ones() -> None:
    with pytest.raises(CascadeportError) as caught:
        backend("310P3").chosen_lowering(Options(target="310P3", lowering="ascend-std"), "docker")
    assert "ascend-standard" in caught.value.next
