"""Graphs whose tensors are in other files, which no digest covers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport.backends.onnxruntime.lowering import CurrentOperators
from cascadeport.base.errors import CascadeportError
from cascadeport.graph import check_contract
from onnx import helper, numpy_helper

from tests.helpers import graph_models, tiny_model


def external(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, str(path), save_as_external_data=True, location="net.data", size_threshold=0)
    assert path.with_name("net.data").stat().st_size
    return path


def test_a_network_that_is_ready(tmp_path: Path) -> None:
    path = tiny_model.save(tmp_path / "network.onnx", size=64)
    check_contract(path)
    external(onnx.load(str(path)), path)
    with pytest.raises(CascadeportError, match=r"in other files \(net\.data\)") as caught:
        check_contract(path)
    assert "save_as_external_data=False" in caught.value.next
    onnx.save(onnx.load(str(path)), str(path), save_as_external_data=False)
    check_contract(path)


def test_a_neutral_graph(tmp_path: Path) -> None:
    path = external(graph_models.tiny_detector(), tmp_path / "neutral.onnx")
    with pytest.raises(CascadeportError, match="in other files"):
        CurrentOperators().lower(path, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()


def test_a_tensor_within_a_node(tmp_path: Path) -> None:
    path = tiny_model.save(tmp_path / "network.onnx", size=64)
    model = onnx.load(str(path))
    tensor = numpy_helper.from_array(np.zeros(4, "f4"), "inner")
    onnx.external_data_helper.set_external_data(tensor, "/etc/passwd")
    branch = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "b", [], [])
    node = helper.make_node("If", ["x"], ["y"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CascadeportError, match="/etc/passwd"):
        check_contract(path)
