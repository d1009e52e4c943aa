"""Editing of ONNX graphs: add nodes, replace values, save the result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper, version_converter

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_bytes
from cascadeport.base.reading import is_file
from cascadeport.graph.external import refuse_external_data

Array = NDArray[Any]
#: Constants of more elements are left out of a skeleton.
LARGE = 1024


class EditableGraph:
    """The main graph of a model, with its constants as arrays.

    Attributes:
        model: The model being edited.
        nodes: Its nodes, topologically sorted.
        constants: Initializers and values of `Constant` nodes by name. Assigning to it adds or
            replaces an initializer; a loaded tensor becomes an array when it is read.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[onnx.NodeProto] = []
        self.constants = Constants()
        for tensor in model.graph.initializer:
            self.constants.lazy[tensor.name] = tensor
        for node in model.graph.node:
            if node.op_type == "Constant" and node.domain == "" and _tensor_of(node) is not None:
                self.constants.lazy[node.output[0]] = _tensor_of(node)
            else:
                self.nodes.append(node)
        self._taken = {name for node in model.graph.node for name in node.output}
        self._taken |= set(self.constants.lazy) | {value.name for value in model.graph.input}
        self._taken |= {node.name for node in self.nodes}

    def fresh(self, stem: str) -> str:
        """A name that is not used in the graph yet."""
        name, number = stem, 1
        while name in self._taken:
            name, number = f"{stem}_{number}", number + 1
        self._taken.add(name)
        return name

    def producers(self) -> dict[str, onnx.NodeProto]:
        """The node that computes each value."""
        return {name: node for node in self.nodes for name in node.output if name}

    def consumers(self) -> dict[str, list[onnx.NodeProto]]:
        """The nodes that read each value."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        return readers

    @property
    def outputs(self) -> list[str]:
        return [value.name for value in self.model.graph.output]

    def drop_unused(self) -> None:
        """Removes nodes and constants from which no output can be reached."""
        wanted = set(self.outputs)
        kept = []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                kept.append(node)
                wanted |= set(node.input) | _read_by_subgraphs(node)
        self.nodes = kept[::-1]
        self.constants.keep(wanted)

    def skeleton(self) -> onnx.ModelProto:
        """A copy in which large constants are inputs, for tools that copy the model.

        Shape inference does not need hundreds of megabytes of weights.
        """
        bare = onnx.ModelProto()
        bare.ir_version = self.model.ir_version
        bare.opset_import.extend(self.model.opset_import)
        bare.graph.name = self.model.graph.name
        bare.graph.node.extend(self.nodes)
        bare.graph.input.extend(self.model.graph.input)
        bare.graph.output.extend(self.model.graph.output)
        for name in self.constants.names():
            if self.constants.size(name) <= LARGE:
                array = self.constants[name]
                bare.graph.initializer.append(numpy_helper.from_array(array, name))
            else:
                kind, dims = self.constants.kind(name)
                bare.graph.input.append(helper.make_tensor_value_info(name, kind, dims))
        return bare

    def lifted(self, opset: int) -> EditableGraph:
        """The graph in operators of a later opset.

        The converter knows what changed between opsets; nodes of other domains pass through it.
        """
        lifted = EditableGraph(version_converter.convert_version(self.skeleton(), opset))
        lifted.constants.adopt(self.constants)
        # Now, not when the graph is written: a rewrite may drop a constant in between, which would
        # leave an input that nothing feeds.
        inputs = [v for v in lifted.model.graph.input if v.name not in lifted.constants]
        del lifted.model.graph.input[:]
        lifted.model.graph.input.extend(inputs)
        lifted.drop_unused()
        return lifted

    def to_model(self) -> onnx.ModelProto:
        """The model with all edits applied."""
        graph = self.model.graph
        del graph.node[:]
        graph.node.extend(self.nodes)
        tensors = list(self.constants.tensors())
        del graph.initializer[:]
        graph.initializer.extend(tensors)
        del graph.value_info[:]
        inputs = [value for value in graph.input if value.name not in self.constants]
        del graph.input[:]
        graph.input.extend(inputs)
        return self.model


class Constants:
    """Arrays by name, converted from their tensors only when they are read."""

    def __init__(self) -> None:
        self.lazy: dict[str, onnx.TensorProto] = {}
        self._arrays: dict[str, Array] = {}

    def __contains__(self, name: object) -> bool:
        return name in self.lazy or name in self._arrays

    def __getitem__(self, name: str) -> Array:
        if name not in self._arrays:
            self._arrays[name] = numpy_helper.to_array(self.lazy[name])
        return self._arrays[name]

    def __setitem__(self, name: str, array: Array) -> None:
        self.lazy.pop(name, None)
        self._arrays[name] = array

    def names(self) -> list[str]:
        """The names in a fixed order: whatever iterates over them writes equal files."""
        return [*self.lazy, *(name for name in self._arrays if name not in self.lazy)]

    def kind(self, name: str) -> tuple[int, list[int]]:
        """Element type and shape, without converting the tensor."""
        tensor = self.lazy.get(name)
        if tensor is not None:
            return tensor.data_type, list(tensor.dims)
        array = self._arrays[name]
        return helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape)

    def adopt(self, others: Constants) -> None:
        """Adds the constants of another graph that this one lacks."""
        for name, tensor in others.lazy.items():
            if name not in self:
                self.lazy[name] = tensor
        for name, array in others._arrays.items():
            if name not in self:
                self._arrays[name] = array

    def size(self, name: str) -> int:
        """Number of elements, without converting the tensor."""
        if name in self.lazy:
            return math.prod(self.lazy[name].dims)
        return int(self._arrays[name].size)

    def keep(self, wanted: Iterable[str]) -> None:
        """Drops every constant that is not in `wanted`."""
        chosen = set(wanted)
        self.lazy = {name: tensor for name, tensor in self.lazy.items() if name in chosen}
        self._arrays = {name: array for name, array in self._arrays.items() if name in chosen}

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives constants other names."""
        self.lazy = {names.get(name, name): tensor for name, tensor in self.lazy.items()}
        self._arrays = {names.get(name, name): array for name, array in self._arrays.items()}

    def tensors(self) -> Iterable[onnx.TensorProto]:
        """All constants as named tensors."""
        for name, tensor in self.lazy.items():
            tensor.name = name
            yield tensor
        for name, array in self._arrays.items():
            if name not in self.lazy:
                yield numpy_helper.from_array(np.ascontiguousarray(array), name)


class Builder:
    """Collects the nodes that replace one node; names start with that node's name."""

    def __init__(self, graph: EditableGraph, prefix: str) -> None:
        self.graph = graph
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []

    def op(
        self,
        op_type: str,
        inputs: Sequence[str],
        *,
        outputs: Sequence[str] = (),
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Adds a node and returns the name of its (first) output."""
        name = self.graph.fresh(f"{self.prefix}/{op_type}")
        made = list(outputs) or [f"{name}:0"]
        self.nodes.append(
            helper.make_node(op_type, list(inputs), made, name=name, domain=domain, **attributes)
        )
        return made[0]

    def const(self, value: Any, dtype: Any = np.float32, stem: str = "constant") -> str:
        """Adds a constant and returns its name."""
        name = self.graph.fresh(f"{self.prefix}/{stem}")
        self.graph.constants[name] = np.asarray(value, dtype=dtype)
        return name

    def ints(self, *values: int) -> str:
        """Adds an int64 vector, the type of shapes, axes and indices."""
        return self.const(values, np.int64)

    def slice(self, value: str, axis: int, start: int, stop: int) -> str:
        """`value[start:stop]` along one axis."""
        return self.op("Slice", [value, *(self.ints(n) for n in (start, stop, axis))])

    def reshape(self, value: str, *shape: int, output: str = "") -> str:
        """`value` in another shape; 0 keeps a dimension, -1 infers it."""
        return self.op("Reshape", [value, self.ints(*shape)], outputs=[output] if output else ())


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value in Python's types (lists of numbers, str), or `default`."""
    for found in node.attribute:
        if found.name == name:
            value = helper.get_attribute_value(found)
            return value.decode() if isinstance(value, bytes) else value
    return default


def load(path: Path) -> onnx.ModelProto:
    """Reads a model in a single file.

    Raises:
        CascadeportError: The file is missing, is not ONNX, contains no network, or has tensors in
            other files.
    """
    if not is_file(path):
        raise CascadeportError(
            "The ONNX file does not exist.",
            where=str(path),
            next="Check the path on the model card.",
        )
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises its own types, none of them documented
        raise CascadeportError(
            f"The file is not ONNX, or is truncated ({path.stat().st_size:,} bytes).",
            where=str(path),
            next="Export it again, or copy it again.",
        ) from error
    if not model.graph.node:
        raise CascadeportError(
            "The ONNX file contains no network.", where=str(path), next="Export the model again."
        )
    refuse_external_data(model, path)
    return model


def save(model: onnx.ModelProto, path: Path) -> None:
    """Writes a model atomically."""
    write_bytes(path, model.SerializeToString())


def _tensor_of(node: onnx.NodeProto) -> Any:
    for found in node.attribute:
        if found.name == "value":
            return found.t
    return None


def _read_by_subgraphs(node: onnx.NodeProto) -> set[str]:
    names: set[str] = set()
    for found in node.attribute:
        for graph in ([found.g] if found.HasField("g") else []) + list(found.graphs):
            for inner in graph.node:
                names |= set(inner.input) | _read_by_subgraphs(inner)
    return names
