"""Runs graphs in onnxruntime on the CPU and keeps named values on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from cascadeport.base.errors import CascadeportError
from cascadeport.core.backend import Inside
from cascadeport.graph.editing import EditableGraph, load

Arrays = dict[str, NDArray[Any]]

#: Operators whose results are chosen by comparing values: rounding may choose another row.
_SELECTING = {"TopK", "NonMaxSuppression", "NonZero"}
_OWN = "/own"


@dataclass(frozen=True)
class How:
    """How onnxruntime runs a graph.

    Attributes:
        optimised: Whether it may fuse and reorder operators.
        threads: Its threads.
    """

    optimised: bool = True
    threads: int = 0


class Graph:
    """A graph for onnxruntime, whose values can be looked at by name.

    Args:
        path: The file. It is read anew for each edit, so that edits do not meet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes = load(path).SerializeToString()
        graph = self._editable()
        self.nodes = {name: node for node in graph.nodes for name in node.output if name}
        self.order = list(self.nodes)
        self.outputs = graph.outputs
        value = next(one for one in graph.model.graph.input if one.name not in graph.constants)
        self.input = value.name
        self.takes_floats = value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        self.selected = self._selected(graph)
        self.facts = _facts(graph)
        known = set(graph.constants.names())
        self._ancestry = {
            name: tuple(one for one in node.input if one and one not in known)
            for name, node in self.nodes.items()
        }

    def run(self, picture: NDArray[Any], names: Sequence[str], how: How | None = None) -> Arrays:
        """Runs the graph on a picture.

        Args:
            picture: The network's input.
            names: The values to keep.
        """
        graph = self._editable()
        _set_outputs(graph, names)
        graph.drop_unused()
        return _run(graph.to_model(), {self.input: picture}, names, how, self.path)

    def segments(
        self,
        values: Mapping[str, NDArray[Any]],
        names: Sequence[str],
        how: How | None = None,
    ) -> Arrays:
        """What each part of the graph makes of given inputs.

        The graph is cut at every value of `values`: whoever reads it reads the given array. So no
        part inherits the error of an earlier one.

        Args:
            values: The network's input and named values, in the types that this graph has.
            names: The values to compute, each from the given ones before it.
        """
        graph = self._editable()
        for node in graph.nodes:
            for index, name in enumerate(node.output):
                if name in values or name in names:
                    node.output[index] = name + _OWN
        wanted = [name + _OWN for name in names]
        _set_outputs(graph, wanted)
        graph.drop_unused()
        read = {name for node in graph.nodes for name in node.input}
        feeds = {name: array for name, array in values.items() if name in read}
        del graph.model.graph.input[:]
        graph.model.graph.input.extend(
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in feeds.items()
        )
        found = _run(graph.to_model(), feeds, wanted, how, self.path)
        return {name.removesuffix(_OWN): array for name, array in found.items()}

    def before(self, name: str, stops: set[str]) -> set[str]:
        """The values of `stops`, or the input, that a value is computed from directly."""
        found, seen = set(), set()
        waiting = list(self._ancestry[name])
        while waiting:
            one = waiting.pop()
            if one in seen:
                continue
            seen.add(one)
            if one in stops or one == self.input:
                found.add(one)
            else:
                waiting.extend(self._ancestry.get(one, ()))
        return found

    def _editable(self) -> EditableGraph:
        return EditableGraph(onnx.load_model_from_string(self._bytes))

    def _selected(self, graph: EditableGraph) -> set[str]:
        """The values that depend on a choice between rows."""
        found: set[str] = set()
        for node in graph.nodes:
            if node.op_type in _SELECTING or found.intersection(node.input):
                found.update(name for name in node.output if name)
        return found


class Elsewhere:
    """A graph whose values another runtime on this machine computes.

    Args:
        graph: The graph, for what is known of it.
        inside: Computes its values.
    """

    def __init__(self, graph: Graph, inside: Inside) -> None:
        self.nodes, self.facts, self.outputs = graph.nodes, graph.facts, graph.outputs
        self._inside = inside

    def settle(self, picture: NDArray[Any], names: Sequence[str]) -> None:
        """Asks once which of these values the runtime has; it may replace operators by others."""
        found = self._inside(picture, names)
        self.nodes = {name: node for name, node in self.nodes.items() if name in found}

    def run(self, picture: NDArray[Any], names: Sequence[str], how: How | None = None) -> Arrays:
        """See `Graph`."""
        return self._inside(picture, [name for name in names if name in self.nodes])


def _facts(graph: EditableGraph) -> dict[str, tuple[int, list[int | None]]]:
    """Element type and shape of every value, as far as they can be inferred."""
    inferred = onnx.shape_inference.infer_shapes(graph.skeleton(), data_prop=True)
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            [
                side.dim_value if side.HasField("dim_value") else None
                for side in value.type.tensor_type.shape.dim
            ],
        )
        for value in [*inferred.graph.value_info, *inferred.graph.output]
    }


def _set_outputs(graph: EditableGraph, names: Sequence[str]) -> None:
    del graph.model.graph.output[:]
    graph.model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)


def _run(
    model: onnx.ModelProto,
    feeds: Arrays | Mapping[str, NDArray[Any]],
    names: Sequence[str],
    how: How | None,
    path: Path,
) -> Arrays:
    import onnxruntime  # type: ignore[import-untyped]

    how = how or How()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = how.threads
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if how.optimised else levels.ORT_DISABLE_ALL
    )
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        wanted = {one.name for one in session.get_inputs()}
        given = {name: array for name, array in feeds.items() if name in wanted}
        return dict(zip(names, session.run(list(names), given), strict=True))
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise CascadeportError(
            f"onnxruntime cannot run the graph: {str(error).splitlines()[0]}", where=str(path)
        ) from error


def moved_by_an_ulp(array: NDArray[Any], seed: int) -> NDArray[Any]:
    """The same numbers, each moved to one of its two neighbours or left, at random."""
    if array.dtype.kind != "f":
        return array
    # A float's bits, read as an integer, are those of its neighbour plus or minus one. Padding is 0
    # and stays 0.
    bits = np.ascontiguousarray(array).view(f"i{array.dtype.itemsize}")
    step = np.random.default_rng(seed).integers(-1, 2, bits.shape, bits.dtype)
    step *= (array != 0) & np.isfinite(array)
    return (bits + step).view(array.dtype).reshape(array.shape)
