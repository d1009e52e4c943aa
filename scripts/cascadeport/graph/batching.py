"""A neutral graph for several pictures at once.

The part that treats the pictures of a batch alike (convolutions, normalisation, activations, sums,
pooling) runs once on all of them. What depends on a picture's content (the best proposals, NMS, the
crops of RoIs) has another length for every picture, so there is a copy of it for each. Copies share
every constant. Each takes its picture out of the batch where it begins: after the convolutions of
the RPN. Only crops read the whole batch, with the number of their picture in each RoI.

The outputs are `boxes_0`, `labels_0`, `boxes_1`, ... in the order of the pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Array, Builder, EditableGraph, attribute
from cascadeport.graph.neutral import DOMAIN

#: Of one tensor, by element or by picture: what they give is a batch if they are given one.
_ALIKE = frozenset(
    {
        *("AveragePool", "BatchNormalization", "Cast", "Clip", "Conv", "Dropout", "Elu", "Exp"),
        *("GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "Identity", "LeakyRelu", "MaxPool"),
        *("Neg", "PRelu", "Relu", "Selu", "Sigmoid", "Softplus", "Sqrt", "Tanh"),
    }
)
_BROADCAST = frozenset({"Add", "Div", "Mul", "Sub"})


def outputs(boxes: str, labels: str, pictures: int) -> list[str]:
    """The names of a network's outputs; with one picture, those of the contract."""
    if pictures == 1:
        return [boxes, labels]
    return [f"{name}_{number}" for number in range(pictures) for name in (boxes, labels)]


def batches(inputs: Sequence[Array], pictures: int) -> Iterator[tuple[list[int], Array]]:
    """Inputs of single pictures (1,...) side by side with others of their shape.

    Returns:
        Which ones, and their batch. The last of a shape are filled up with repeats.
    """
    shapes: dict[tuple[int, ...], list[int]] = {}
    for index, one in enumerate(inputs):
        shapes.setdefault(one.shape, []).append(index)
    for same in shapes.values():
        for start in range(0, len(same), pictures):
            own = same[start : start + pictures]
            group = [inputs[index] for index in own]
            yield own, np.concatenate(group + group[:1] * (pictures - len(group)))


def for_pictures(graph: EditableGraph, pictures: int) -> None:
    """Changes a neutral graph to so many pictures at once.

    Raises:
        CascadeportError: Nothing in it treats the pictures of a batch alike.
    """
    if pictures == 1:
        return
    value = graph.model.graph.input[0]
    value.type.tensor_type.shape.dim[0].dim_value = pictures
    together = _together(graph, value.name)
    if not any(node.op_type == "Conv" for node in together):
        raise CascadeportError(
            "Nothing in this graph can run on several pictures at once: its input does not go into "
            "a convolution.",
            next="Leave BATCH out.",
        )
    batches = {value.name} | {name for node in together for name in node.output}
    shared, own = _parts(graph, together, batches)
    names = graph.outputs
    copies = [_Copy(graph, number, batches, names) for number in range(pictures)]
    graph.nodes = [*shared, *(node for copy in copies for node in copy.nodes(own))]
    _set_outputs(graph, copies)
    graph.drop_unused()


def _together(graph: EditableGraph, start: str) -> list[onnx.NodeProto]:
    """The nodes that run on all pictures at once."""
    batches, found = {start}, []
    for node in graph.nodes:
        if any(name in batches for name in node.input) and _takes_batches(graph, node, batches):
            found.append(node)
            batches |= set(node.output)
    return found


def _takes_batches(graph: EditableGraph, node: onnx.NodeProto, batches: set[str]) -> bool:
    """Whether a node gives a batch of what it would give for each picture."""
    inputs = [name for name in node.input if name]
    others = [name for name in inputs if name not in batches]
    if not all(name in graph.constants for name in others):
        return False
    if node.domain == DOMAIN:
        return node.op_type == "DeformConv" and not {node.input[0], node.input[2]} - batches
    if node.op_type in _ALIKE:
        return inputs[0] in batches and len(others) == len(inputs) - 1
    if node.op_type in _BROADCAST:
        return all(_is_of_every_picture(graph, name) for name in others)
    if node.op_type == "Concat":
        return not others and attribute(node, "axis", 0) > 0
    if node.op_type == "Transpose":
        return next(iter(attribute(node, "perm", [])), -1) == 0
    return node.op_type == "Resize" and _keeps_pictures(graph, node)


def _is_of_every_picture(graph: EditableGraph, name: str) -> bool:
    """Whether a constant is the same for every picture of a batch of four dimensions."""
    _, shape = graph.constants.kind(name)
    return len(shape) < 4 or (len(shape) == 4 and shape[0] == 1)


def _keeps_pictures(graph: EditableGraph, node: onnx.NodeProto) -> bool:
    """Whether a Resize says its size by scales, of which the first is 1."""
    if len(node.input) != 3:
        return False
    scales = graph.constants[node.input[2]]
    return scales.size > 0 and float(scales.reshape(-1)[0]) == 1.0


def _parts(
    graph: EditableGraph, together: list[onnx.NodeProto], batches: set[str]
) -> tuple[list[onnx.NodeProto], list[onnx.NodeProto]]:
    """The nodes that are there once, and those that each picture has a copy of."""
    once = {id(node) for node in together}
    differing = set(batches)
    shared, own = [], []
    for node in graph.nodes:
        if id(node) in once or not differing & set(node.input):
            shared.append(node)
        else:
            own.append(node)
            differing |= set(node.output)
    return shared, own


class _Copy:
    """The part of the graph that one picture has for itself."""

    def __init__(
        self, graph: EditableGraph, number: int, batches: set[str], outputs: list[str]
    ) -> None:
        self._graph = graph
        self._number = number
        self._batches = batches
        self._build = Builder(graph, f"picture_{number}")
        self._names: dict[str, str] = {}
        self._cut: dict[str, str] = {}
        self.outputs = {name: f"{name}_{number}" for name in outputs}
        for name in outputs:
            if name in batches:
                raise CascadeportError(f"The output '{name}' is one of all pictures of a batch.")

    def nodes(self, own: list[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
        """Copies of the nodes, in their order, and what takes the picture out of the batch."""
        for node in own:
            copied = onnx.NodeProto()
            copied.CopyFrom(node)
            copied.name = self._graph.fresh(f"{node.name or node.op_type}@{self._number}")
            crops = node.domain == DOMAIN and node.op_type == "RoiExtractor"
            inputs = [self._input(name, crops) for name in node.input]
            if crops:
                inputs[-1] = self._of_picture(inputs[-1])
            del copied.input[:]
            copied.input.extend(inputs)
            for index, name in enumerate(node.output):
                self._names[name] = self._name(name)
                copied.output[index] = self._names[name]
            yield from self._build.nodes
            self._build.nodes.clear()
            yield copied

    def _name(self, name: str) -> str:
        if not name:
            return ""
        return self.outputs.get(name) or self._graph.fresh(f"{name}@{self._number}")

    def _input(self, name: str, whole: bool) -> str:
        if name not in self._batches or whole:
            return self._names.get(name, name)
        if name not in self._cut:
            self._cut[name] = self._build.slice(name, 0, self._number, self._number + 1)
        return self._cut[name]

    def _of_picture(self, rois: str) -> str:
        """RoIs (n,5) whose picture is this one and not the first. Their boxes stay to the bit."""
        shift = self._build.const([[self._number, 0, 0, 0, 0]])
        return self._build.op("Add", [rois, shift])


def _set_outputs(graph: EditableGraph, copies: list[_Copy]) -> None:
    infos = {value.name: value for value in graph.model.graph.output}
    found = []
    for copy in copies:
        for name, renamed in copy.outputs.items():
            value = onnx.ValueInfoProto()
            value.CopyFrom(infos[name])
            value.name = renamed
            for side in value.type.tensor_type.shape.dim:
                if side.dim_param:
                    # Each picture has a number of detections of its own.
                    side.dim_param = f"{side.dim_param}_{renamed.rpartition('_')[2]}"
            found.append(value)
    del graph.model.graph.output[:]
    graph.model.graph.output.extend(found)
