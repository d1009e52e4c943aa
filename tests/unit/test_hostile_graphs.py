"""Mutated graphs: checking and lowering them ends in a CascadeportError or not at all."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import onnx
from cascadeport.backends.onnxruntime.lowering import StandardOperators
from cascadeport.base.errors import CascadeportError
from cascadeport.graph import check_contract

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


def mutated(model: onnx.ModelProto, seed: int) -> bytes:
    """A model after one to three mutations; every eighth has some of its bytes changed instead."""
    draw = random.Random(seed)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if seed % 8 == 0:
        content = bytearray(copy.SerializeToString())
        for _ in range(draw.randrange(1, 20)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        return bytes(content)
    for _ in range(draw.randrange(1, 4)):
        draw.choice(_MUTATIONS)(copy, draw)
    return copy.SerializeToString()


def outcomes(model: onnx.ModelProto, path: Path, count: int, run: Callable[[], object]) -> set[str]:
    """What came of `count` mutated models at `path`: accepted, refused, or another exception."""
    found = set()
    for seed in range(count):
        path.write_bytes(mutated(model, seed))
        try:
            run()
        except CascadeportError as error:
            found.add("refused" if error.what.strip() and error.where else f"unexplained: {seed}")
        except Exception as error:
            found.add(f"seed {seed}: {type(error).__name__}: {error}")
        else:
            found.add("accepted")
    return found


def test_checking_the_contract_of_mutated_networks(tmp_path: Path) -> None:
    path = tiny_model.save(tmp_path / "network.onnx", size=64)
    model = onnx.load(str(path))
    found = outcomes(model, path, 300, lambda: check_contract(path))
    assert found == {"accepted", "refused"}


def test_lowering_mutated_neutral_graphs(tmp_path: Path) -> None:
    path, out = tmp_path / "neutral.onnx", tmp_path / "out.onnx"
    found = outcomes(
        graph_models.tiny_detector(), path, 150, lambda: StandardOperators().lower(path, out)
    )
    assert found == {"accepted", "refused"}
