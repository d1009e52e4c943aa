"""One Ascend graph for several sizes of the input: atc's gears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from cascadeport.backends.ascend.gears import check_gears
from cascadeport.backends.ascend.reference_executor import EXACT, executable
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.graph.reshaping import at_shape

from tests.helpers.lowering import lower

DEMO = REPOSITORY / "models" / "demo" / "demo.onnx"
GEARS = ((192, 256), (256, 192), (64, 64))


@pytest.fixture(scope="module")
def geared(tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("gears") / "gears.onnx"
    return onnx.load(str(lower(DEMO, path, "ascend", gears=GEARS).path))


def detect(path: Path, value: Any) -> list[Any]:
    exact = executable(path, path.with_suffix(".executable.onnx"), "fp32", EXACT)
    session = onnxruntime.InferenceSession(str(exact), providers=["CPUExecutionProvider"])
    return list(session.run(["boxes", "labels"], {"input": value}))


@pytest.mark.parametrize("shape", GEARS)
def test_a_gear_gives_the_bits_of_a_graph_of_its_shape(
    geared: onnx.ModelProto, tmp_path: Path, shape: tuple[int, int]
) -> None:
    """At 64x64 every level but one is filled up with boxes of score 0."""
    onnx.save(at_shape(geared, shape), str(tmp_path / "gear.onnx"))
    lower(DEMO, tmp_path / "alone.onnx", "ascend", shape=shape)
    noise = np.random.default_rng(1).standard_normal((*shape, 3)).astype(np.float32)
    value = cv2.GaussianBlur(noise, (0, 0), 3).transpose(2, 0, 1)[np.newaxis] * 8
    value = np.ascontiguousarray(value)
    found, alone = (detect(tmp_path / f"{name}.onnx", value) for name in ("gear", "alone"))
    assert (found[0][:, 4] > 0).sum() > 5
    assert all(np.array_equal(one, other) for one, other in zip(found, alone, strict=True))


def test_nothing_in_it_asks_for_a_shape(geared: onnx.ModelProto) -> None:
    operators = {node.op_type for node in geared.graph.node}
    assert not operators & {"Shape", "Range", "Where", "NonZero", "ConstantOfShape"}
    assert "CumSum" in operators
    check_gears(geared, GEARS)


def test_a_shape_that_is_not_fixed_is_found_out(geared: onnx.ModelProto) -> None:
    graph = onnx.ModelProto()
    graph.CopyFrom(geared)
    concat = next(node for node in graph.graph.node if node.op_type == "Relu")
    concat.op_type = "NonZero"
    with pytest.raises(CascadeportError, match="is not fixed"):
        check_gears(graph, GEARS)
