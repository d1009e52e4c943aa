"""Subjects: ONNX graphs, ready ones and neutral ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import onnx
from cascadeport.backends.onnxruntime.lowering import StandardOperators
from cascadeport.graph import check_contract

from tests.fuzz import mutate
from tests.fuzz.subject import Subject, require
from tests.helpers import graph_models, tiny_model

_ODD = (-1, 0, 1, 2, 2**31, -(2**63), 2**63 - 1)
_NAMES = ("", "input", "nowhere", "boxes", "wr", "\0", "é")
_TYPES = ("Reshape", "Cast", "ConstantOfShape", "ProposalNMS", "Loop", "Constant", "NoSuchThing")


def _node(model: onnx.ModelProto, draw: random.Random) -> onnx.NodeProto:
    return draw.choice(model.graph.node)


def _drop_input(model: onnx.ModelProto, draw: random.Random) -> None:
    node = _node(model, draw)
    del node.input[draw.randrange(len(node.input) + 1) :]


def _rename_input(model: onnx.ModelProto, draw: random.Random) -> None:
    node = _node(model, draw)
    if node.input:
        node.input[draw.randrange(len(node.input))] = draw.choice(_NAMES)


def _rename_output(model: onnx.ModelProto, draw: random.Random) -> None:
    _node(model, draw).output[:] = [draw.choice(_NAMES)] * draw.randrange(3)


def _retype(model: onnx.ModelProto, draw: random.Random) -> None:
    _node(model, draw).op_type = draw.choice(_TYPES)


def _move(model: onnx.ModelProto, draw: random.Random) -> None:
    _node(model, draw).domain = draw.choice(("", "cascadeport", "elsewhere"))


def _drop_node(model: onnx.ModelProto, draw: random.Random) -> None:
    del model.graph.node[draw.randrange(len(model.graph.node))]


def _shuffle(model: onnx.ModelProto, draw: random.Random) -> None:
    nodes = list(model.graph.node)
    draw.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _attribute(model: onnx.ModelProto, draw: random.Random) -> None:
    node = draw.choice([node for node in model.graph.node if node.attribute])
    attribute = draw.choice(node.attribute)
    what = draw.randrange(4)
    if what == 0:
        node.attribute.remove(attribute)
    elif what == 1:
        attribute.i = draw.choice(_ODD)
        attribute.ints[:] = [draw.choice(_ODD) for _ in range(draw.randrange(6))]
        attribute.floats[:] = [float("nan")] * draw.randrange(3)
    elif what == 2:
        attribute.type = draw.choice(list(onnx.AttributeProto.AttributeType.values()))
    else:
        attribute.name = draw.choice(("strides", "value", "to", "axis", "nothing"))


def _tensor(model: onnx.ModelProto, draw: random.Random) -> None:
    tensor = draw.choice(model.graph.initializer)
    what = draw.randrange(5)
    if what == 0:
        tensor.raw_data = tensor.raw_data[: draw.randrange(len(tensor.raw_data) + 1)]
    elif what == 1:
        tensor.dims[:] = [draw.choice(_ODD) for _ in range(draw.randrange(4))]
    elif what == 2:
        tensor.data_type = draw.choice((*onnx.TensorProto.DataType.values(), 99))
    elif what == 3:
        tensor.name = draw.choice(_NAMES)
    else:
        model.graph.initializer.remove(tensor)


def _value(model: onnx.ModelProto, draw: random.Random) -> None:
    value = draw.choice([*model.graph.input, *model.graph.output])
    kind = value.type.tensor_type
    what = draw.randrange(5)
    if what == 0:
        kind.elem_type = draw.choice((0, 7, 10, 99))
    elif what == 1:
        value.type.Clear()
    elif what == 2:
        value.type.sequence_type.elem_type.tensor_type.elem_type = 1
    elif what == 3 and kind.shape.dim:
        draw.choice(kind.shape.dim).dim_value = draw.choice(_ODD)
    else:
        value.name = draw.choice(_NAMES)


def _imports(model: onnx.ModelProto, draw: random.Random) -> None:
    one = draw.choice(model.opset_import)
    one.version = draw.choice(_ODD)
    model.ir_version = draw.choice((0, 3, 7, 2**40))


_MUTATIONS: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    _drop_input,
    _rename_input,
    _rename_output,
    _retype,
    _move,
    _drop_node,
    _shuffle,
    _attribute,
    _attribute,
    _tensor,
    _tensor,
    _value,
    _imports,
)


def mutated(model: onnx.ModelProto, draw: random.Random) -> bytes:
    """A model after one to three mutations; every eighth has some of its bytes changed instead."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if draw.randrange(8) == 0:
        return mutate.content(copy.SerializeToString(), draw)
    for _ in range(draw.randrange(1, 4)):
        draw.choice(_MUTATIONS)(copy, draw)
    return copy.SerializeToString()


class ReadyGraphs(Subject):
    """A card's own graph. Nonsense: the contract is said to hold, and the names are others."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.original = onnx.load(str(tiny_model.save(folder / "network.onnx", size=64)))

    def make(self, draw: random.Random) -> None:
        (self.case / "network.onnx").write_bytes(mutated(self.original, draw))

    def run(self) -> None:
        path = self.case / "network.onnx"
        check_contract(path)
        graph = onnx.load(str(path)).graph
        require({one.name for one in graph.output} >= {"boxes", "labels"}, "outputs are missing")
        require("input" in {one.name for one in graph.input}, "the input is missing")


class NeutralGraphs(Subject):
    """What the exporter makes. Nonsense: a lowered graph that breaks the contract itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.original = graph_models.tiny_detector()

    def make(self, draw: random.Random) -> None:
        (self.case / "neutral.onnx").write_bytes(mutated(self.original, draw))

    def run(self) -> None:
        out = self.out / "lowered.onnx"
        StandardOperators().lower(self.case / "neutral.onnx", out)
        graph = onnx.load(str(out)).graph
        require({one.name for one in graph.output} >= {"boxes", "labels"}, "outputs are missing")
        left = {node.op_type for node in graph.node if node.domain == "cascadeport"}
        require(not left, f"neutral operators are left: {left}")
