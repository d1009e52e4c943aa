"""A neutral graph for another shape than the traced one, or for every shape.

One export serves all shapes. `for_shape` puts the constants of another size where those of the
traced size were; at the traced size it changes nothing. `for_any_shape` computes them from the
size of the input instead, with the same float32 arithmetic on the same whole numbers, so that a
network for every shape gives the same bits as one for a single shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Builder, EditableGraph
from cascadeport.graph.traced import Level, Traced, cells, find

#: What boxes are clipped to inside the network: its whole input, or the picture in it.
Clip = Literal["input", "picture"]
#: Rows and columns of an input are multiples of this; as on cards (config/cards.py), which this
#: package must do without inside the stand-in's image.
MULTIPLE = 32


def for_shape(graph: EditableGraph, shape: tuple[int, int]) -> None:
    """Changes a neutral graph to the input's rows and columns `shape`.

    Raises:
        CascadeportError: Something in it depends on the traced size that cannot be derived.
    """
    if any(side % MULTIPLE or side < MULTIPLE for side in shape):
        raise CascadeportError(
            f"A network for {shape[0]}x{shape[1]} is not possible.",
            next=f"Rows and columns must be multiples of {MULTIPLE}.",
        )
    if _size(graph) == shape:
        return
    traced = find(graph)
    before: list[onnx.NodeProto] = []
    ids = graph.constants[traced.nms.input[2]]
    repeated = []
    for level in traced.levels:
        area = _area(shape, level.stride)
        _set(graph, level.adding, 0, cells(area, level.stride))
        total = area[0] * area[1] * level.anchors_per_cell
        build = Builder(graph, f"level_{level.number}")
        if total > traced.limit and level.topk is None:
            count = build.ints(traced.limit)
            names = [graph.fresh(f"{build.prefix}/{stem}") for stem in ("best", "chosen")]
            build.op("TopK", [level.all[0], count], outputs=names, axis=-1, largest=1, sorted=1)
            chosen = [build.op("Gather", [value, names[1]], axis=0) for value in level.all[1:]]
            _rejoin(traced, level, [names[0], *chosen])
        elif total <= traced.limit and level.topk is not None:
            _rejoin(traced, level, level.all)
        before += build.nodes
        repeated += [ids[level.first_id]] * min(total, traced.limit)
    _set(graph, traced.nms, 2, np.array(repeated, ids.dtype))
    for node, axis in traced.clips:
        _set(graph, node, 2, np.array(shape[axis], np.float32))
    _insert(graph, traced, before)
    for number, side in zip((2, 3), shape, strict=True):
        _sides(graph)[number].dim_value = side
    graph.drop_unused()


def for_any_shape(graph: EditableGraph, clip: Clip = "input", channel: int = 0) -> None:
    """Changes a neutral graph so that rows and columns of its input are whatever they are.

    Args:
        graph: The graph.
        clip: What boxes are clipped to. mmdet clips to the picture, without its padding.
        channel: For `picture`: a channel in which no pixel of a picture is exactly 0 (`telling`),
            as padding is.

    Raises:
        CascadeportError: Something in it depends on the traced size that cannot be derived.
    """
    traced = find(graph)
    ids = graph.constants[traced.nms.input[2]]
    before: list[onnx.NodeProto] = []
    counts = []
    for level in traced.levels:
        build = Builder(graph, f"level_{level.number}")
        level.adding.input[0] = _positions(build, level)
        _insert_before(graph, level.adding, build.nodes)
        build = Builder(graph, f"level_{level.number}")
        count = _candidates(build, traced, level)
        counts.append(build.op("Expand", [build.const([ids[level.first_id]], ids.dtype), count]))
        before += build.nodes
    build = Builder(graph, "levels")
    traced.nms.input[2] = build.op("Concat", counts, axis=0)
    _insert(graph, traced, before + build.nodes)
    build = Builder(graph, "border")
    name = graph.model.graph.input[0].name
    borders = [
        _picture(build, name, axis, channel) if clip == "picture" else _whole(build, name, axis)
        for axis in (0, 1)
    ]
    for node, axis in traced.clips:
        del node.input[1:]
        node.input.extend(borders[axis])
    graph.nodes = build.nodes + graph.nodes
    _open(graph)


def for_gears(graph: EditableGraph, shapes: Sequence[tuple[int, int]]) -> None:
    """Changes a neutral graph so that its input may have one of several sizes, without `Shape`.

    Compilers for NPUs (atc's gears) make one program for each of the sizes and want every other
    shape to be fixed in each. So positions are counted (CumSum) on the pyramid's maps instead of
    computed from their sizes, and every level has the same number of candidates at all sizes:
    where it may have fewer anchors than candidates, anchors without area and of score 0 fill up.
    All that follows is the same for all sizes. NMS must drop candidates of score 0.

    Raises:
        CascadeportError: Something in it depends on the traced size that cannot be derived.
    """
    traced = find(graph)
    ids = graph.constants[traced.nms.input[2]]
    before: list[onnx.NodeProto] = []
    repeated = []
    borders: list[str] = []
    for level in traced.levels:
        areas = [_area(shape, level.stride) for shape in shapes]
        totals = [rows * columns * level.anchors_per_cell for rows, columns in areas]
        count = min(traced.limit, max(totals))
        build = Builder(graph, f"level_{level.number}")
        y, x = _counted(build, level)
        grid = [build.reshape(value, -1, 1, 1) for value in (x, y, x, y)]
        level.adding.input[0] = build.op("Concat", grid, axis=2)
        if not borders:
            # The finest level's stride divides the input.
            borders = [
                build.op(
                    "Add",
                    [
                        build.op("ReduceMax", [value], keepdims=0),
                        build.const(float(level.stride[axis])),
                    ],
                )
                for axis, value in enumerate((y, x))
            ]
        _insert_before(graph, level.adding, build.nodes)
        build = Builder(graph, f"level_{level.number}")
        values = list(level.all)
        if min(totals) < count:
            missing = count - min(totals)
            for index, sides in enumerate(((missing,), (missing, 4), (missing, 4))):
                filling = build.const(np.zeros(sides, np.float32), stem="filling")
                values[index] = build.op("Concat", [values[index], filling], axis=0)
        names = [graph.fresh(f"{build.prefix}/{stem}") for stem in ("best", "chosen")]
        build.op(
            "TopK", [values[0], build.ints(count)], outputs=names, axis=-1, largest=1, sorted=1
        )
        chosen = [build.op("Gather", [value, names[1]], axis=0) for value in values[1:]]
        _rejoin(traced, level, [names[0], *chosen])
        before += build.nodes
        repeated += [ids[level.first_id]] * count
    _set(graph, traced.nms, 2, np.array(repeated, ids.dtype))
    _insert(graph, traced, before)
    for node, axis in traced.clips:
        build = Builder(graph, node.name)
        above = build.op("Max", [node.input[0], build.const(0.0)])
        build.op("Min", [above, borders[axis]], outputs=[node.output[0]])
        at = graph.nodes.index(node)
        graph.nodes[at : at + 1] = build.nodes
    _open(graph)


def _counted(build: Builder, level: Level) -> tuple[str, str]:
    """Rows' and columns' positions of a level (1,1,h,w), counted on its map."""
    plane = build.slice(level.score_map, 1, 0, 1)
    ones = build.op("Add", [build.op("Mul", [plane, build.const(0.0)]), build.const(1.0)])
    found = []
    for axis in (0, 1):
        number = build.op("CumSum", [ones, build.const(2 + axis, np.int32)])
        index = build.op("Sub", [number, build.const(1.0)])
        found.append(build.op("Mul", [index, build.const(float(level.stride[axis]))]))
    return found[0], found[1]


def _open(graph: EditableGraph) -> None:
    """Leaves the input's rows and columns open."""
    for number, symbol in ((2, "height"), (3, "width")):
        _sides(graph)[number].dim_param = symbol
    del graph.model.graph.value_info[:]
    graph.drop_unused()


def at_shape(model: onnx.ModelProto, shape: Sequence[int]) -> onnx.ModelProto:
    """A network whose rows and columns are open, of that size: as atc clones it for each gear."""
    clone = onnx.ModelProto()
    clone.CopyFrom(model)
    for number, side in zip((2, 3), shape, strict=True):
        clone.graph.input[0].type.tensor_type.shape.dim[number].dim_value = side
    return clone


def telling(mean: Sequence[float]) -> int:
    """A channel in which no byte of a picture becomes exactly 0, as padding is.

    Raises:
        CascadeportError: There is none: every channel's mean is a whole number.
    """
    for channel, value in enumerate(mean):
        if math.floor(value) != value or not 0 <= value <= 255:
            return channel
    raise CascadeportError(
        "The network cannot tell a picture from its padding: with these means, a pixel can be 0.",
        where=f"input.mean = {list(mean)}",
        next="Use fixed shapes (SHAPES=HxW or SHAPES=auto:N), which need not know.",
    )


def _positions(build: Builder, level: Level) -> str:
    """The cells' positions (h*w,1,4): whole pixels, exact in float32."""
    shape = build.op("Shape", [level.score_map])
    axes = []
    for axis in (0, 1):
        side = build.op("Squeeze", [build.slice(shape, 0, 2 + axis, 3 + axis)], axes=[0])
        index = build.op("Range", [build.const(0, np.int64), side, build.const(1, np.int64)])
        index = build.op("Mul", [index, build.const(level.stride[axis], np.int64)])
        index = build.op("Cast", [index], to=onnx.TensorProto.FLOAT)
        axes.append(build.reshape(index, *((-1, 1, 1) if axis == 0 else (1, -1, 1))))
    y, x = axes
    zero = build.op("Mul", [build.op("Add", [y, x]), build.const(0.0)])
    columns, rows = build.op("Add", [x, zero]), build.op("Add", [y, zero])
    grid = build.op("Concat", [columns, rows, columns, rows], axis=2)
    return build.reshape(grid, -1, 1, 4)


def _candidates(build: Builder, traced: Traced, level: Level) -> str:
    """Selects a level's candidates; returns how many there are, int64 (1).

    A level with no more anchors than the limit keeps them in their own order, as mmdet does.
    """
    scores, *others = level.all
    limit = build.ints(traced.limit)
    total = build.op("Shape", [scores])
    more = build.op("Greater", [total, limit])
    count = build.op("Where", [more, limit, total])
    names = [build.graph.fresh(f"{build.prefix}/{stem}") for stem in ("best", "order")]
    build.op("TopK", [scores, count], outputs=names, axis=-1, largest=1, sorted=1)
    numbers = [build.const(0, np.int64), build.op("Squeeze", [count], axes=[0])]
    own_order = build.op("Range", [*numbers, build.const(1, np.int64)])
    chosen = build.op("Where", [more, names[1], own_order])
    _rejoin(
        traced,
        level,
        [build.op("Gather", [value, chosen], axis=0) for value in (scores, *others)],
    )
    return count


def _whole(build: Builder, name: str, axis: int) -> list[str]:
    """The input's own borders along an axis of the picture: the least and the greatest."""
    shape = build.op("Shape", [name])
    side = build.op("Squeeze", [build.slice(shape, 0, 2 + axis, 3 + axis)], axes=[0])
    return [build.const(0.0), build.op("Cast", [side], to=onnx.TensorProto.FLOAT)]


def _picture(build: Builder, name: str, axis: int, channel: int) -> list[str]:
    """The picture's borders along an axis: from its first to its last row (0) or column (1)."""
    plane = build.op("Abs", [build.slice(name, 1, channel, channel + 1)])
    highest = build.op("ReduceMax", [plane], axes=[0, 1, 3 - axis], keepdims=0)
    inside = build.op("Greater", [highest, build.const(0.0)])
    least, greatest = _whole(build, name, axis)
    side = build.op("Squeeze", [build.op("Shape", [highest])], axes=[0])
    index = build.op("Range", [build.const(0, np.int64), side, build.const(1, np.int64)])
    index = build.op("Cast", [index], to=onnx.TensorProto.FLOAT)
    first = build.op("Where", [inside, index, greatest])
    last = build.op("Where", [inside, build.op("Add", [index, build.const(1.0)]), least])
    return [
        build.op("ReduceMin", [first], keepdims=0),
        build.op("ReduceMax", [last], keepdims=0),
    ]


def _rejoin(traced: Traced, level: Level, values: Sequence[str]) -> None:
    """Makes scores, anchors and deltas of a level those."""
    for concat, value in zip(traced.concats, values, strict=True):
        concat.input[level.number] = value


def _insert(graph: EditableGraph, traced: Traced, nodes: list[onnx.NodeProto]) -> None:
    """Puts nodes that read whole levels where everything that they read is there."""
    first: Callable[[onnx.NodeProto], int] = graph.nodes.index
    at = min(first(node) for node in traced.concats)
    moved = [node for node in traced.concats if first(node) == at]
    last = max(
        first(maker)
        for maker in graph.nodes
        if set(maker.output) & {value for level in traced.levels for value in level.all}
    )
    # All of the levels' values are there once the last of them is.
    if last > at:
        graph.nodes = [
            *(node for node in graph.nodes[: last + 1] if node not in moved),
            *nodes,
            *moved,
            *graph.nodes[last + 1 :],
        ]
    else:
        graph.nodes[at:at] = nodes


def _insert_before(graph: EditableGraph, node: onnx.NodeProto, nodes: list[onnx.NodeProto]) -> None:
    at = graph.nodes.index(node)
    graph.nodes[at:at] = nodes


def _set(graph: EditableGraph, node: onnx.NodeProto, index: int, value: np.ndarray) -> None:
    """Makes an input of a node another constant."""
    name = graph.fresh(f"{node.name or node.op_type}/constant")
    graph.constants[name] = value
    node.input[index] = name


def _area(shape: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
    return -(-shape[0] // stride[0]), -(-shape[1] // stride[1])


def _sides(graph: EditableGraph) -> Sequence[onnx.TensorShapeProto.Dimension]:
    dims: Sequence[onnx.TensorShapeProto.Dimension] = graph.model.graph.input[
        0
    ].type.tensor_type.shape.dim
    return dims


def _size(graph: EditableGraph) -> tuple[int, int]:
    return _sides(graph)[2].dim_value, _sides(graph)[3].dim_value
