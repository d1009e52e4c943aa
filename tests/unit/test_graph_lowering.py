"""Complete lowerings of a small detector: all detect the same and report their changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport import backends
from cascadeport.backends.ascend.reference_executor import EXACT, executable
from cascadeport.base.errors import CascadeportError
from cascadeport.graph import check_contract, editing

from tests.helpers.graph_models import picture_for, run, tiny_detector
from tests.helpers.lowering import lower

_LOWERINGS = tuple(sorted(kind.name for one in backends.every() for kind in one.lowerings))

FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16


@pytest.fixture
def neutral(tmp_path: Path) -> Path:
    path = tmp_path / "neutral.onnx"
    onnx.save(tiny_detector(), str(path))
    return path


def detect(path: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    boxes, labels = run(path, picture_for(onnx.load(str(path)), seed))
    real = boxes[:, 4] > 0
    return boxes[real], labels[real]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_lowering_detects_the_same(neutral: Path, tmp_path: Path, seed: int) -> None:
    found = {}
    for target in _LOWERINGS:
        faithful = {"proposals": 20, "across_levels": False}
        done = lower(neutral, tmp_path / f"{target}.onnx", target, **faithful)
        path = done.path
        if target.startswith("ascend"):
            path = executable(done.path, tmp_path / "executable.onnx", "fp32", EXACT)
        found[target] = detect(path, seed)
    boxes, labels = found["onnxruntime"]
    assert len(boxes) > 3
    for target, (other_boxes, other_labels) in found.items():
        np.testing.assert_array_equal(other_labels, labels, err_msg=target)
        np.testing.assert_allclose(other_boxes, boxes, atol=1e-4, err_msg=target)


@pytest.mark.parametrize("target", ["onnxruntime", "onnxruntime-1.9"])
def test_the_result_obeys_the_contract_with_one_opset_and_standard_operators(
    neutral: Path, tmp_path: Path, target: str
) -> None:
    done = lower(neutral, tmp_path / "lowered.onnx", target)
    assert check_contract(done.path, size=64).opset == done.opset
    assert (done.changes, done.facts) == ([], {})
    model = onnx.load(str(done.path))
    onnx.checker.check_model(model, full_check=True)
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    assert ("DeformConv" in kinds) == (target == "onnxruntime")


def test_uint8_input_gives_the_same_detections(neutral: Path, tmp_path: Path) -> None:
    mean, std = [120.0, 110.0, 100.0], [60.0, 58.0, 57.0]
    plain = lower(neutral, tmp_path / "float.onnx", "onnxruntime")
    bytes_ = lower(
        neutral, tmp_path / "bytes.onnx", "onnxruntime", input_dtype="uint8", mean=mean, std=std
    )
    assert check_contract(bytes_.path).dtype == "uint8"
    assert any("normalised inside" in change for change in bytes_.changes)
    picture = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    normalised = ((picture - np.array(mean)) / np.array(std)).astype("f4").transpose(0, 3, 1, 2)
    boxes, labels = run(plain.path, {"input": normalised})
    other_boxes, other_labels = run(bytes_.path, {"input": picture})
    np.testing.assert_array_equal(other_labels, labels)
    np.testing.assert_allclose(other_boxes, boxes, atol=1e-4)


@pytest.mark.parametrize("target", _LOWERINGS)
def test_fewer_proposals_and_merged_levels_can_be_chosen_and_are_reported(
    neutral: Path, tmp_path: Path, target: str
) -> None:
    done = lower(neutral, tmp_path / "x.onnx", target, proposals=7, across_levels=True)
    assert "7 proposals instead of 20" in done.changes
    assert any("across pyramid levels" in change for change in done.changes)
    same = lower(neutral, tmp_path / "y.onnx", target, proposals=20, across_levels=False)
    assert not any("proposals" in change or "across" in change for change in same.changes)


def test_fewer_proposals_change_what_is_detected(neutral: Path, tmp_path: Path) -> None:
    full = detect(lower(neutral, tmp_path / "x.onnx", "onnxruntime").path, 1)[0]
    few = detect(lower(neutral, tmp_path / "y.onnx", "onnxruntime", proposals=2).path, 1)[0]
    assert len(np.unique(few[:, :4], axis=0)) <= 2 < len(np.unique(full[:, :4], axis=0))


def test_no_proposals_are_refused(neutral: Path, tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="the minimum is 1"):
        lower(neutral, tmp_path / "x.onnx", "onnxruntime", proposals=-1)


@pytest.mark.parametrize("arithmetic", ["fp32", "fp16", "force_fp16"])
def test_large_constants_pass_through_every_step(
    neutral: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arithmetic: str
) -> None:
    """Constants that the skeleton leaves out, and that are edited meanwhile."""
    feeds = picture_for(onnx.load(str(neutral)))
    found = []
    for large in (editing.LARGE, 8):
        monkeypatch.setattr(editing, "LARGE", large)
        ascend = lower(neutral, tmp_path / "ascend.onnx", "ascend").path
        path = executable(ascend, tmp_path / "executable.onnx", arithmetic)
        assert [value.name for value in onnx.load(str(path)).graph.input] == ["input"]
        found.append(run(path, feeds))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("target", ["onnxruntime", "onnxruntime-1.9"])
def test_nms_in_float16_rounds_its_inputs_and_outputs(
    neutral: Path, tmp_path: Path, target: str
) -> None:
    done = lower(neutral, tmp_path / "half.onnx", target, half_nms=True)
    assert [change for change in done.changes if "NMS in float16" in change]
    boxes = detect(done.path, 1)[0]
    assert len(boxes)
    np.testing.assert_array_equal(boxes, boxes.astype("f2").astype("f4"))
    plain = detect(lower(neutral, tmp_path / "plain.onnx", target).path, 1)[0]
    assert (plain != plain.astype("f2").astype("f4")).any()


def test_float32_nms_is_refused_where_the_operator_lacks_it(neutral: Path, tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="takes float16 only"):
        lower(neutral, tmp_path / "x.onnx", "ascend", half_nms=False)
    assert lower(neutral, tmp_path / "y.onnx", "ascend", half_nms=True).changes == (
        lower(neutral, tmp_path / "z.onnx", "ascend").changes
    )


def test_a_float16_network_keeps_its_boxes_in_float32(neutral: Path, tmp_path: Path) -> None:
    done = lower(neutral, tmp_path / "half.onnx", "onnxruntime", precision="float16")
    assert [change for change in done.changes if "computed in float16" in change]
    model = onnx.load(str(done.path))
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    kinds = {one.name: one.type.tensor_type.elem_type for one in inferred.graph.value_info}
    kinds |= {one.name: one.data_type for one in model.graph.initializer}
    kinds |= {one.name: one.type.tensor_type.elem_type for one in model.graph.input}
    found: dict[str, set[int]] = {}
    for node in model.graph.node:
        found.setdefault(node.op_type, set()).update(
            kinds[name] for name in node.input if kinds.get(name) in (FLOAT, FLOAT16)
        )
    for name in ("Conv", "DeformConv", "Gemm", "Relu"):
        assert found[name] == {FLOAT16}, name
    for name in ("RoiAlign", "NonMaxSuppression", "Softmax"):
        assert found[name] == {FLOAT}, name

    plain = lower(neutral, tmp_path / "plain.onnx", "onnxruntime").path
    (boxes, labels), (other, others) = detect(done.path, 1), detect(plain, 1)
    np.testing.assert_array_equal(labels[:5], others[:5])
    np.testing.assert_allclose(boxes[:5], other[:5], rtol=0.02, atol=0.2)
    assert (boxes[:5] != other[:5]).any()


@pytest.mark.parametrize("target", ["onnxruntime-1.9", "ascend"])
def test_a_lowering_without_a_choice_of_precision_says_so(
    neutral: Path, tmp_path: Path, target: str
) -> None:
    with pytest.raises(CascadeportError, match="has no choice of precision"):
        lower(neutral, tmp_path / "x.onnx", target, precision="float16")


_LOWER_EVERYTHING = """
import sys
from pathlib import Path

from cascadeport.backends.ascend.reference_executor import ARITHMETICS, executable
from tests.helpers.lowering import lower

neutral, out, *names = map(Path, sys.argv[1:])
for name in map(str, names):
    done = lower(neutral, out / f"{name}.onnx", name)
    if name == "ascend":
        for arithmetic in ARITHMETICS:
            executable(done.path, out / f"{arithmetic}.onnx", arithmetic)
lower(neutral, out / "half.onnx", "onnxruntime", precision="float16", half_nms=True)
"""


def test_equal_graphs_are_lowered_to_equal_bytes(
    neutral: Path, tmp_path: Path, repository: Path
) -> None:
    """In processes whose sets have different orders."""
    contents = []
    for seed in ("1", "2"):
        out = tmp_path / seed
        out.mkdir()
        subprocess.run(
            [sys.executable, "-c", _LOWER_EVERYTHING, str(neutral), str(out), *_LOWERINGS],
            env={
                **os.environ,
                "PYTHONHASHSEED": seed,
                "PYTHONPATH": os.pathsep.join([str(repository / "scripts"), str(repository)]),
            },
            check=True,
        )
        contents.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert len(contents[0]) == len(_LOWERINGS) + 4
    for name, content in contents[0].items():
        assert content == contents[1][name], name
