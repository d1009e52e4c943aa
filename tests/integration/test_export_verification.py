"""The verification of lowerings: correct ones pass, with any weights, and planted errors do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport.graph import verify

from tests.helpers import exporting
from tests.helpers.planted import plants

pytestmark = pytest.mark.export

SHAPE = (128, 160)
SEEDS = (3, 7)
# A target of each lowering, and a lowering that is not its own.
TARGETS = (("cpu", None), ("310P3", None), ("310P3", "ascend-standard"))


@pytest.fixture(scope="module", params=SEEDS)
def exported(
    request: pytest.FixtureRequest, export_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An export of the demo's architecture with random weights."""
    folder = tmp_path_factory.mktemp("export")
    pictures = exporting.draw_pictures(folder)
    refusal = exporting.export(
        export_python, "demo", request.param, SHAPE, pictures, folder / "out"
    )
    assert not refusal
    return folder / "out"


@pytest.mark.parametrize(("target", "lowering"), TARGETS)
def test_a_correct_lowering_passes(
    exported: Path, tmp_path: Path, target: str, lowering: str | None
) -> None:
    report = exporting.tried(exported, tmp_path, target, lowering=lowering)
    report.require_passed()
    with_detections = [picture for picture in report.pictures if picture.expected]
    assert len(list(report.lines)) == len(with_detections) >= 3
    for picture in with_detections:
        assert picture.boxes.ratio[0] is not None
        assert picture.boxes.ratio[0] < 2
    assert "times PyTorch's own" in report.summary


@pytest.mark.parametrize(("target", "lowering"), TARGETS)
@pytest.mark.parametrize("name", list(plants([])))
def test_a_planted_error_does_not_pass(
    exported: Path, tmp_path: Path, target: str, lowering: str | None, name: str
) -> None:
    plant = plants(exporting.labels_of(exported))[name]
    report = exporting.tried(exported, tmp_path, target, plant, lowering)
    assert not report.passed
    assert report.problems


def _y_first(model: onnx.ModelProto) -> None:
    """CANN's offsets are all x, then all y, then the masks: here all y come first."""
    node = _node(model, "DeformableConv2D")
    source = next(one for one in model.graph.node if node.input[2] in one.output)
    for name in source.input[1:]:
        tensor = next(one for one in model.graph.initializer if one.name == name)
        array = onnx.numpy_helper.to_array(tensor)
        x, y, mask = np.split(array, 3)
        tensor.CopyFrom(onnx.numpy_helper.from_array(np.concatenate([y, x, mask]), name))


def _unaligned(model: onnx.ModelProto) -> None:
    attributes = _node(model, "RoiExtractor").attribute
    next(one for one in attributes if one.name == "aligned").i = 0


def _lax(model: onnx.ModelProto) -> None:
    last = [one for one in model.graph.node if one.op_type == "BatchMultiClassNMS"][-1]
    next(one for one in last.attribute if one.name == "iou_threshold").f = 0.55


def _node(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind)


@pytest.mark.parametrize("change", [_y_first, _unaligned, _lax])
def test_an_error_in_the_ascend_lowering_does_not_pass(
    exported: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], None]
) -> None:
    exporting.tried(exported, tmp_path, "310P3").require_passed()
    path = tmp_path / "lowered.onnx"
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    assert not verify(exporting.loaded("310P3", path, "ascend"), path.name, exported).passed
