"""Constants that a graph of a few bytes makes as large as it likes: they are not computed."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import onnx
import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.graph import passes
from cascadeport.graph.editing import EditableGraph
from onnx import helper

from tests.helpers.graph_models import FLOAT, INT64, model_of


class _Session:
    """Notes that something was computed."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        raise AssertionError("nothing may be computed here")


@pytest.mark.parametrize("elements", [2**28, 2**33, 2**62])
@pytest.mark.parametrize("kind", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_a_constant_above_the_limit_is_not_computed(
    kind: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes.onnxruntime, "InferenceSession", _Session)
    constants = {"count": np.array([elements]), "one": np.array([1.0], "f4")}
    inputs = {"ConstantOfShape": ["count"], "Expand": ["one", "count"], "Tile": ["one", "count"]}
    if kind == "Range":
        constants |= {"zero": np.array(0), "stop": np.array(elements), "step": np.array(1)}
        inputs["Range"] = ["zero", "stop", "step"]
    made = FLOAT if kind != "Range" else INT64
    nodes = [
        helper.make_node(kind, inputs[kind], ["large"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Identity", ["large"], ["out"]),
    ]
    graph = EditableGraph(model_of(nodes, {"x": (1,)}, {"out": made, "shape": INT64}, constants))
    tracemalloc.start()
    passes.fold_constants(graph)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
    assert [node.op_type for node in graph.nodes] == [kind, "Identity"]


def test_many_constants_together_stay_below_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "MAX_TOGETHER", 10)
    constants = {"count": np.array([4]), "axes": np.array([0])}
    nodes: list[onnx.NodeProto] = [
        helper.make_node("ConstantOfShape", ["count"], [f"c{n}"]) for n in range(5)
    ]
    names = [f"c{n}" for n in range(5)]
    graph = EditableGraph(model_of(nodes, {"x": (1,)}, dict.fromkeys(names, FLOAT), constants))
    assert len(passes._within_limits(graph, passes._constant(graph))) == 2
    passes.fold_constants(graph)
    assert set(names) <= set(graph.constants.names())


def test_a_constant_that_cannot_be_computed_is_an_error() -> None:
    constants = {"a": np.zeros((2, 3), "f4"), "where": np.array([9])}
    nodes = [helper.make_node("Gather", ["a", "where"], ["out"], axis=0)]
    graph = EditableGraph(model_of(nodes, {"x": (1,)}, {"out": FLOAT}, constants))
    with pytest.raises(CascadeportError, match="constant part of the graph"):
        passes.fold_constants(graph)
