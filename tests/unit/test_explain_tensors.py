"""Two graphs compared tensor by tensor: planted errors are found where they are, and only there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport import backends
from cascadeport.backends.ascend.reference_executor import RULES, executable
from cascadeport.explain import tensors
from cascadeport.explain.anchors import Anatomy
from cascadeport.explain.tensors import Comparison
from cascadeport.explain.values import Graph, moved_by_an_ulp
from onnx import numpy_helper

from tests.helpers.graph_models import picture_for, tiny_detector

Plant = Callable[[onnx.ModelProto], None]


def weight_of(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def scaled(name: str) -> Plant:
    """The first filter of a weight is 5 % too large."""

    def plant(model: onnx.ModelProto) -> None:
        tensor = weight_of(model, name)
        array = numpy_helper.to_array(tensor).copy()
        array[0] *= 1.05
        tensor.CopyFrom(numpy_helper.from_array(array, name))

    return plant


def swapped(model: onnx.ModelProto) -> None:
    """The x and y offsets of the deformable convolution change places."""
    for name in ("w1", "b1"):
        tensor = weight_of(model, name)
        array = numpy_helper.to_array(tensor)
        order = np.arange(len(array)).reshape(-1, 2)[:, ::-1].reshape(-1)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array[order]), name))


def attribute(kind: str, name: str, value: float) -> Plant:
    """Another threshold."""

    def plant(model: onnx.ModelProto) -> None:
        node = next(node for node in model.graph.node if node.op_type == kind)
        next(one for one in node.attribute if one.name == name).f = value

    return plant


def compared(
    folder: Path,
    plant: Plant | None = None,
    lowering: str = "onnxruntime",
    rules: tuple[str, ...] | None = None,
    seed: int = 0,
) -> Comparison:
    """A detector in onnxruntime, and the same with an error or in another lowering."""
    model = tiny_detector(seed)
    onnx.save(model, str(folder / "neutral.onnx"))
    picture = picture_for(model)["input"]
    if plant is not None:
        plant(model)
    onnx.save(model, str(folder / "other.onnx"))
    one = backends.lowering("onnxruntime").lower(folder / "neutral.onnx", folder / "a.onnx").path
    faithful = backends.load("ascend").faithful if rules is not None else None
    other = backends.lowering(lowering).lower(folder / "other.onnx", folder / "b.onnx", faithful)
    path = other.path
    if rules is not None:
        path = executable(path, folder / "run.onnx", "force_fp16", rules=rules)
    anatomy = Anatomy.of(folder / "neutral.onnx")
    return tensors.compare((Graph(one), Graph(path)), (picture, picture), anatomy)


@pytest.mark.parametrize(
    ("plant", "value"),
    [
        (scaled("w0"), "c0"),
        (scaled("w1"), "offset"),
        # Its batch norm is folded into it.
        (scaled("w2"), "n0"),
        (scaled("wr"), "r0"),
        (scaled("wc"), "classes"),
        (swapped, "offset"),
        (attribute("ProposalNMS", "iou_threshold", 0.3), "props"),
        (attribute("MultiClassNMS", "score_threshold", 0.8), "boxes"),
    ],
)
def test_the_first_tensor_beyond_noise_is_where_the_error_is(
    tmp_path: Path, plant: Plant, value: str
) -> None:
    found = compared(tmp_path, plant)
    assert found.first is not None
    assert found.first.value == value
    # What comes after it only inherits it; the RPN's two levels share their filters.
    assert {one.value for one in found.makers} <= {value, "r1"}
    if value == "c0":
        assert all(one.differs for one in found.values if one.value in ("d0", "n0", "p0", "p1"))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lowering", ["onnxruntime", "onnxruntime-1.9"])
def test_correct_lowerings_differ_in_nothing(tmp_path: Path, lowering: str, seed: int) -> None:
    found = compared(tmp_path, lowering=lowering, seed=seed)
    assert len(found.values) > 15
    assert found.first is None, found.first
    assert not [one.value for one in found.values if one.made]


def test_ascend_in_float32_differs_in_nothing_and_each_rule_where_it_acts(tmp_path: Path) -> None:
    assert compared(tmp_path, lowering="ascend", rules=()).first is None
    for rule, value in {"deformable": "n0", "nms": "props", "tensors": "c0"}.items():
        found = compared(tmp_path, lowering="ascend", rules=(rule,))
        assert found.first is not None, rule
        assert found.first.value == value, rule
    assert set(RULES) >= {"deformable", "nms", "tensors", "thin", "levels"}


def test_the_graph_with_a_fixed_number_of_proposals_is_the_one_whose_values_are_fed(
    tmp_path: Path,
) -> None:
    found = compared(tmp_path, lowering="ascend", rules=("deformable",))
    assert not found.swapped
    graphs = (Graph(tmp_path / "run.onnx"), Graph(tmp_path / "a.onnx"))
    picture = picture_for(tiny_detector())["input"]
    other = tensors.compare(graphs, (picture, picture), Anatomy.of(tmp_path / "neutral.onnx"))
    assert other.swapped
    assert other.first is not None
    assert other.first.value == "n0"
    assert not other.notes


def test_graphs_of_two_fixed_numbers_of_proposals_are_compared_as_far_as_that_goes(
    tmp_path: Path,
) -> None:
    onnx.save(tiny_detector(), str(tmp_path / "neutral.onnx"))
    graphs = []
    for proposals in (10, 20):
        request = replace(backends.load("ascend").faithful, proposals=proposals)
        out = tmp_path / f"{proposals}.onnx"
        lowered = backends.lowering("ascend").lower(tmp_path / "neutral.onnx", out, request)
        run = executable(lowered.path, tmp_path / f"{proposals}.run.onnx", rules=())
        graphs.append(Graph(run))
    picture = picture_for(tiny_detector())["input"]
    anatomy = Anatomy.of(tmp_path / "neutral.onnx")
    found = tensors.compare((graphs[0], graphs[1]), (picture, picture), anatomy)
    (note,) = found.notes
    assert "could not be computed from the other graph's inputs" in note
    by_name = {one.value: one for one in found.values}
    assert not by_name["p1"].differs
    # The lists of proposals are compared all the same: one has twice as many.
    assert by_name["props"].difference is not None
    assert by_name["props"].difference.strays == 10
    assert by_name["props"].differs


def test_values_that_only_sound_alike_are_not_compared(tmp_path: Path) -> None:
    """Ascend's offsets have a mask besides, and lowerings make up equal names by chance."""
    compared(tmp_path, lowering="ascend", rules=())
    one, other = Graph(tmp_path / "a.onnx"), Graph(tmp_path / "run.onnx")
    assert "offset" in one.nodes
    assert "offset" in other.nodes
    names = tensors.common(one, other, Anatomy.of(tmp_path / "neutral.onnx"))
    assert "offset" not in names
    assert not [name for name in names if "/" in name]


def test_values_that_do_not_fit_into_memory_together_are_compared_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = compared(tmp_path, scaled("w2"))
    monkeypatch.setattr(tensors, "TOGETHER", 5000)
    parts = compared(tmp_path, scaled("w2"))
    assert [one.value for one in parts.values] == [one.value for one in whole.values]
    assert [one.made for one in parts.values] == [one.made for one in whole.values]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_moved_goes_to_a_neighbour(dtype: str) -> None:
    for array in (np.full(500, 1.5, dtype), np.array(-3.25, dtype), np.zeros((2, 3), dtype)):
        moved = moved_by_an_ulp(array, 1)
        assert isinstance(moved, np.ndarray)
        assert (moved.dtype, moved.shape) == (array.dtype, array.shape)
        neighbours = [np.nextafter(array, array.dtype.type(end)) for end in (-9, 9)]
        near = (moved == array) | (moved == neighbours[0]) | (moved == neighbours[1])
        assert near.all()
    assert len(np.unique(moved_by_an_ulp(np.full(500, 1.5, dtype), 1))) > 1
    assert moved_by_an_ulp(np.arange(3, dtype=np.uint8), 1).tolist() == [0, 1, 2]


def test_the_anatomy_of_the_demo(repository: Path) -> None:
    anatomy = Anatomy.of(repository / "models" / "demo" / "demo.onnx")
    stages = list(dict.fromkeys(anchor.stage for anchor in anatomy.anchors))
    levels = [f"P{number}" for number in range(2, 7)]
    expected = ["C2", "C3", "C4", "C5", *levels, *(f"RPN {level}" for level in levels)]
    expected += ["proposals", "cascade 1", "cascade 2", "cascade 3", "NMS", "final"]
    assert stages == expected
    by_name = {
        (anchor.stage, anchor.what): anatomy.words(anchor.value) for anchor in anatomy.anchors
    }
    assert by_name["P3", "features"] == "Conv neck.fpn_convs.1.conv"
    assert by_name["RPN P6", "deltas"] == "Conv rpn_head.rpn_reg"
    assert by_name["cascade 2", "class scores"] == "Gemm roi_head.bbox_head.1.fc_cls"
    assert by_name["cascade 3", "deltas"] == "Gemm roi_head.bbox_head.2.fc_reg"
