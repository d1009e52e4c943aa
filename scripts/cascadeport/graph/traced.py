"""What tracing baked into a neutral graph: everything in it that depends on the input's size.

These are the anchors' positions, how many anchors of a level are candidates (a TopK, unless the
level has fewer), the candidates' level ids, and the borders that boxes are clipped to. They are
found by structure, and each is compared with what it has to be for the traced size: a graph in
which something else depends on the size is refused, not guessed at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Array, EditableGraph, attribute
from cascadeport.graph.neutral import DOMAIN

#: The index of the Concat of scores, of anchors and of deltas in `Traced.concats`.
SCORES, ANCHORS, DELTAS = 0, 1, 2


@dataclass(frozen=True)
class Level:
    """A level of the RPN's pyramid.

    Args:
        number: Its index.
        adding: The node that adds cells' positions (h*w,1,4) and a cell's anchors (1,A,4).
        stride: Pixels of the input per cell, vertically and horizontally.
        anchors_per_cell: A.
        score_map: The value (1,A,h,w) that tells the level's size.
        all: All scores (h*w*A), anchors (h*w*A,4) and deltas (h*w*A,4).
        first_id: The level's ids in the graph's list of them.
        topk: Selects the candidates; None: the level has no more than may remain.
    """

    number: int
    adding: onnx.NodeProto
    stride: tuple[int, int]
    anchors_per_cell: int
    score_map: str
    all: tuple[str, str, str]
    first_id: int
    topk: onnx.NodeProto | None


@dataclass(frozen=True)
class Traced:
    """Everything that depends on the input's size (rows, columns).

    Args:
        size: The traced one.
        levels: Of the RPN's pyramid, finest first.
        concats: The nodes that join the levels' scores, anchors and deltas.
        limit: How many candidates a level may have.
        nms: The RPN's NMS, which reads the level ids.
        clips: The nodes that clip coordinates, with their axis: 0 for y, 1 for x.
    """

    size: tuple[int, int]
    levels: tuple[Level, ...]
    concats: tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto]
    limit: int
    nms: onnx.NodeProto
    clips: tuple[tuple[onnx.NodeProto, int], ...]


def cells(size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Positions of a level's cells, as mmdet counts them: float32 (h*w,1,4), x0,y0,x1,y1."""
    y, x = np.meshgrid(
        np.arange(size[0]) * stride[0], np.arange(size[1]) * stride[1], indexing="ij"
    )
    return np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4).astype(np.float32)


def find(graph: EditableGraph) -> Traced:
    """Finds what depends on the size.

    Raises:
        CascadeportError: The graph is not one of this exporter's, or was traced too small.
    """
    return _Finder(graph).find()


class _Finder:
    def __init__(self, graph: EditableGraph) -> None:
        self.graph = graph
        self.makers = graph.producers()
        self.readers = graph.consumers()

    def find(self) -> Traced:
        sides = [
            side.dim_value for side in self.graph.model.graph.input[0].type.tensor_type.shape.dim
        ]
        if len(sides) != 4 or not all(sides):
            raise _refusal("its input has no fixed size")
        size = (sides[2], sides[3])
        nms = self._only("ProposalNMS")
        adding = [node for node in self.graph.nodes if self._adds_cells(node)]
        joined = self._maker(nms.input[1], "Concat")
        if len(joined.input) != len(adding):
            raise _refusal("the RPN's levels and anchors do not match")
        scores = [self._level_scores(name) for name in joined.input]
        limits = {int(self._value(topk.input[1])) for _, topk in scores if topk is not None}
        if len(limits) != 1:
            raise _refusal(
                "it does not show how many candidates a level may have"
                if not limits
                else "its levels have different numbers of candidates",
                "Export it at a larger size, at which a level has more anchors than that.",
            )
        anchors, deltas = self._others(adding, scores)
        levels = []
        first = 0
        if nms.input[2] not in self.graph.constants:
            raise _refusal("its candidates' level ids are no constant")
        ids = self.graph.constants[nms.input[2]]
        for number, (node, (flat, topk)) in enumerate(zip(adding, scores, strict=True)):
            level, count = self._level(number, node, flat, topk, first, size, anchors, deltas)
            if len(set(ids[first : first + count].tolist())) != 1:
                raise _refusal("its candidates' level ids are not what they have to be")
            levels.append(level)
            first += count
        if first != len(ids):
            raise _refusal("it has another number of level ids than of candidates")
        found = Traced(
            size=size,
            levels=tuple(levels),
            concats=(joined, anchors, deltas),
            limit=limits.pop(),
            nms=nms,
            clips=tuple(self._clips(size)),
        )
        self._check_rest()
        return found

    def _level(
        self,
        number: int,
        node: onnx.NodeProto,
        flat: str,
        topk: onnx.NodeProto | None,
        first: int,
        size: tuple[int, int],
        anchors: onnx.NodeProto,
        deltas: onnx.NodeProto,
    ) -> tuple[Level, int]:
        positions = self.graph.constants[node.input[0]]
        per_cell = int(self.graph.constants[node.input[1]].shape[1])
        stride = _stride(positions)
        area = (-(-size[0] // stride[0]), -(-size[1] // stride[1]))
        if not np.array_equal(positions, cells(area, stride)):
            raise _refusal(f"the anchors of level {number} are not at multiples of a stride")
        own_anchors, own_deltas = (
            self._before(one.input[number], topk) for one in (anchors, deltas)
        )
        every = (flat, own_anchors, own_deltas)
        level = Level(number, node, stride, per_cell, self._score_map(flat), every, first, topk)
        total = len(positions) * per_cell
        return level, total if topk is None else int(self._value(topk.input[1]))

    def _adds_cells(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Add" or any(name not in self.graph.constants for name in node.input):
            return False
        shapes = [self.graph.constants.kind(name)[1] for name in node.input]
        return (
            all(len(shape) == 3 and shape[2] == 4 for shape in shapes)
            and shapes[0][1] == 1
            and shapes[1][0] == 1
        )

    def _level_scores(self, name: str) -> tuple[str, onnx.NodeProto | None]:
        maker = self.makers.get(name)
        if maker is not None and maker.op_type == "TopK":
            return maker.input[0], maker
        return name, None

    def _others(
        self, adding: list[onnx.NodeProto], scores: list[tuple[str, onnx.NodeProto | None]]
    ) -> tuple[onnx.NodeProto, onnx.NodeProto]:
        """The nodes that join the levels' anchors and deltas."""
        number, topk = next((i, topk) for i, (_, topk) in enumerate(scores) if topk is not None)
        anchors = deltas = None
        for gather in self.readers.get(topk.output[1], []):
            if gather.op_type != "Gather":
                continue
            source = self.makers.get(self.makers[gather.input[0]].input[0])
            for node in self.readers.get(gather.output[0], []):
                if node.op_type == "Concat" and node.input[number] == gather.output[0]:
                    if source is not None and source.name == adding[number].name:
                        anchors = node
                    else:
                        deltas = node
        if anchors is None or deltas is None:
            raise _refusal("its candidates' anchors and deltas are not found")
        return anchors, deltas

    def _before(self, name: str, topk: onnx.NodeProto | None) -> str:
        """The value of all anchors of a level, of which `name` are those that TopK selects."""
        if topk is None:
            return name
        gather = self._maker(name, "Gather")
        if gather.input[1] != topk.output[1]:
            raise _refusal(f"{name} is not selected like the scores")
        return str(gather.input[0])

    def _score_map(self, flat: str) -> str:
        name = flat
        for kind in ("Sigmoid", "Reshape", "Transpose"):
            name = self._maker(name, kind).input[0]
        return name

    def _clips(self, size: tuple[int, int]) -> list[tuple[onnx.NodeProto, int]]:
        found = []
        for node in self.graph.nodes:
            if node.op_type != "Clip" or len(node.input) != 3:
                continue
            cut = self.makers.get(node.input[0])
            if cut is None or cut.op_type != "Slice" or len(cut.input) != 5:
                continue
            start, _, axis, step = (int(self._value(name)) for name in cut.input[1:])
            if axis != 0 or step != 2:
                continue
            along = 1 - start
            if start not in (0, 1) or self._value(node.input[2]) != size[along]:
                raise _refusal(f"{node.name} clips to another border than the input's")
            if self._value(node.input[1]) != 0:
                raise _refusal(f"{node.name} clips to another border than the input's")
            found.append((node, along))
        return found

    def _check_rest(self) -> None:
        """Refuses operators that would keep the traced size."""
        for node in self.graph.nodes:
            if node.domain:
                continue
            shape = node.input[1] if node.op_type in ("Reshape", "Expand") else ""
            if shape and shape in self.graph.constants:
                target = self.graph.constants[shape].ravel()
                fixed = node.op_type == "Expand" or -1 not in target
                if fixed and node.input[0] not in self.graph.constants:
                    raise _refusal(f"{node.name} gives a value the fixed shape {target.tolist()}")
            if node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
                raise _refusal(f"{node.name} resizes to a fixed size")

    def _value(self, name: str) -> float:
        """The number that a constant, or a cast or reshaped one, holds."""
        while name not in self.graph.constants:
            maker = self.makers.get(name)
            if maker is None or maker.op_type not in ("Cast", "Reshape"):
                raise _refusal(f"{name} is not a number")
            name = maker.input[0]
        array = self.graph.constants[name]
        if array.size != 1:
            raise _refusal(f"{name} is not a number")
        return float(array.ravel()[0])

    def _only(self, kind: str) -> onnx.NodeProto:
        found = [n for n in self.graph.nodes if n.domain == DOMAIN and n.op_type == kind]
        if len(found) != 1:
            raise _refusal(f"it has {len(found)} {kind}, not one")
        return found[0]

    def _maker(self, name: str, kind: str) -> onnx.NodeProto:
        node = self.makers.get(name)
        if node is None or node.op_type != kind:
            raise _refusal(f"{name} is not made by {kind}")
        if kind == "Concat" and attribute(node, "axis") != 0:
            raise _refusal(f"{node.name} does not join along the first axis")
        return node


def _stride(positions: Array) -> tuple[int, int]:
    """Vertical and horizontal distance of a level's cells (h*w,1,4)."""
    x, y = positions[:, 0, 0], positions[:, 0, 1]
    found = []
    for values in (y, x):
        steps = np.unique(values)
        if len(steps) < 2:
            raise _refusal(
                "it was traced at a size at which a level is one cell wide or high",
                "Export it at 160 pixels or more.",
            )
        found.append(int(steps[1] - steps[0]))
    return found[0], found[1]


def _refusal(why: str, remedy: str = "") -> CascadeportError:
    return CascadeportError(
        f"The neutral graph cannot be given another shape: {why}.",
        next=remedy
        or "Export the model again with this release's exporter, or leave SHAPES= and RESIZE= out.",
    )
