"""What OpenVINO computes inside a graph, by the names of its values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport import backends
from cascadeport.config import targets
from cascadeport.core.backend import Inside
from cascadeport.explain import tensors
from cascadeport.explain.anchors import Anatomy
from cascadeport.explain.tensors import Comparison
from cascadeport.explain.values import Elsewhere, Graph
from onnx import numpy_helper

from tests.helpers.graph_models import picture_for, tiny_detector


def inside(network: Path, repository: Path) -> Inside:
    row = targets.load(repository / "targets.toml", backends.row)["openvino"]
    found = backends.of(row).values(network)
    if found is None:
        pytest.skip("OpenVINO is not installed (make install TARGET=openvino)")
    return found


def compared(folder: Path, repository: Path, factor: float = 1.0) -> Comparison:
    """A detector in onnxruntime, and in OpenVINO with a filter multiplied by a factor."""
    model = tiny_detector()
    neutral = folder / "neutral.onnx"
    onnx.save(model, str(neutral))
    weight = next(one for one in model.graph.initializer if one.name == "w2")
    array = numpy_helper.to_array(weight).copy()
    array[0] *= np.float32(factor)
    weight.CopyFrom(numpy_helper.from_array(array, "w2"))
    onnx.save(model, str(folder / "other.onnx"))
    first = backends.lowering("onnxruntime").lower(neutral, folder / "a.onnx").path
    second = backends.lowering("openvino").lower(folder / "other.onnx", folder / "b.onnx").path
    picture = picture_for(model)["input"]
    anatomy = Anatomy.of(neutral)
    own = Graph(first)
    other = Elsewhere(Graph(second), inside(second, repository))
    other.settle(picture, [*tensors.common(own, other, anatomy), *other.outputs])
    return tensors.compare((own, other), (picture, picture), anatomy)


def test_openvino_computes_what_onnxruntime_does(tmp_path: Path, repository: Path) -> None:
    found = compared(tmp_path, repository)
    assert found.first is None, found.first
    assert {one.value for one in found.values} >= {"c0", "n0", "p1", "props", "classes", "boxes"}
    # It is another runtime: not everything is the same to the last bit.
    assert any(one.difference and one.difference.largest for one in found.values)


def test_an_error_in_openvinos_graph_is_found(tmp_path: Path, repository: Path) -> None:
    found = compared(tmp_path, repository, 1.05)
    assert found.first is not None
    assert found.first.value == "n0"
