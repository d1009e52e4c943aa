"""Deformable convolution: the operator of opset 19, or gathers and one matrix product."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Array, Builder, attribute
from cascadeport.graph.rewriting import Shapes, static

#: Of one convolution lowered to gathers; the R101's largest at 1344 x 800 has 604,800 for a group.
MAX_SAMPLES = 1 << 24


def deform_conv_19(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
    """Rule: ONNX's DeformConv, whose offsets are ordered y0, x0, y1, x1, ... as ours."""
    build.op(
        "DeformConv",
        list(node.input),
        outputs=[node.output[0]],
        strides=attribute(node, "strides"),
        pads=attribute(node, "pads"),
        dilations=attribute(node, "dilations"),
        group=attribute(node, "groups", 1),
        offset_group=attribute(node, "deform_groups", 1),
        kernel_shape=list(build.graph.constants[node.input[1]].shape[2:]),
    )


def deform_conv_by_gather(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
    """Rule: standard operators of opset 11."""
    x, weight, offset, *bias = node.input
    grid = sampling_grid(build, node, known)
    columns = gather(build, grid, x, offset)
    matrix = build.graph.constants[weight]
    multiply(build, grid, columns, matrix, bias[0] if bias else "", node.output[0])


def sampling_grid(build: Builder, node: onnx.NodeProto, known: Shapes) -> SamplingGrid:
    """Where a neutral DeformConv samples, if gathers can express it.

    Raises:
        CascadeportError: It has groups, or is too large.
    """
    x, weight, offset = node.input[:3]
    if attribute(node, "groups", 1) != 1:
        raise CascadeportError(
            "Deformable convolution with groups cannot be expressed in standard operators here.",
            where=f"node {node.name}, groups = {attribute(node, 'groups')}",
            next="Use a lowering that has the operator itself: `onnxruntime`, or `ascend`.",
        )
    grid = SamplingGrid(
        shape=static(known, x, node),
        kernel=build.graph.constants[weight].shape[2:],
        strides=attribute(node, "strides"),
        pads=attribute(node, "pads")[:2],
        dilations=attribute(node, "dilations"),
        out=static(known, offset, node)[2:],
        groups=attribute(node, "deform_groups", 1),
    )
    if grid.pixels * grid.samples > MAX_SAMPLES:
        raise CascadeportError(
            f"A deformable convolution of {grid.pixels * grid.samples:,} samples is too "
            "large for gathers.",
            where=f"node {node.name}",
            next="Use a lowering that has the operator itself: `onnxruntime`, or `ascend`.",
        )
    return grid


@dataclass(frozen=True)
class SamplingGrid:
    """The positions at which a deformable convolution samples; pairs are height, width.

    Attributes:
        shape: Shape of its input, (1,C,H,W).
        out: Height and width of its output.
        groups: Number of channel groups that have offsets of their own.
    """

    shape: Sequence[int]
    kernel: Sequence[int]
    strides: Sequence[int]
    pads: Sequence[int]
    dilations: Sequence[int]
    out: Sequence[int]
    groups: int

    @property
    def pixels(self) -> int:
        """Number of output pixels."""
        return self.out[0] * self.out[1]

    @property
    def samples(self) -> int:
        """Samples of one output pixel, over all groups."""
        return self.groups * self.kernel[0] * self.kernel[1]

    def positions(self) -> Array:
        """Where a plain convolution would sample: float32 (pixels, samples, 2), y and x."""
        y, x, i, j = np.meshgrid(
            *(np.arange(side) for side in (*self.out, *self.kernel)), indexing="ij"
        )
        y = y * self.strides[0] - self.pads[0] + i * self.dilations[0]
        x = x * self.strides[1] - self.pads[1] + j * self.dilations[1]
        positions = np.stack([y, x], axis=-1).reshape(self.pixels, -1, 2)
        return np.tile(positions, (1, self.groups, 1)).astype(np.float32)


def gather(build: Builder, grid: SamplingGrid, x: str, offset: str, mask: str = "") -> str:
    """The samples of each output pixel, side by side: (pixels, kernel, C).

    The input becomes a table of pixels (rows) by channels, padded with a border of zeros. Each
    sample reads four neighbouring rows and weights them. A sample outside the input is moved onto
    the border, where it reads zeros, as in mmcv and torchvision.

    Args:
        build: Collects the nodes.
        grid: Where the samples lie.
        x: (1,C,H,W).
        offset: (1,2*samples,Ho,Wo), y0,x0,y1,x1,...
        mask: (1,samples,Ho,Wo), a factor for each sample, if there is one.
    """
    _, channels, height, width = grid.shape
    pixels, samples = grid.pixels, grid.samples
    row = width + 2
    table = build.op("Pad", [x, build.ints(0, 0, 1, 1, 0, 0, 1, 1)])
    table = build.reshape(table, channels, (height + 2) * row)
    table = build.op("Transpose", [table], perm=[1, 0])

    moved = build.op("Transpose", [build.reshape(offset, 2 * samples, pixels)], perm=[1, 0])
    moved = build.reshape(moved, pixels, samples, 2)
    positions = build.op("Add", [moved, shared(build, grid.positions())])
    positions = build.op("Max", [positions, build.const([-1.0, -1.0])])
    positions = build.op("Min", [positions, build.const([height, width])])
    corner = build.op("Min", [build.op("Floor", [positions]), build.const([height - 1, width - 1])])
    far = build.op("Sub", [positions, corner])  # weight of the far neighbour, y and x
    weights = neighbour_weights(build, grid, far, mask)

    # Row in the table: (y + 1) * row + (x + 1); exact in float32 below 2**24 pixels.
    assert (height + 2) * row < 2**24
    index = build.op("Mul", [corner, build.const([row, 1.0])])
    index = build.op("Add", [build.slice(index, 2, 0, 1), build.slice(index, 2, 1, 2)])
    index = build.op("Add", [index, build.const(row + 1.0)])
    index = build.reshape(build.op("Cast", [index], to=onnx.TensorProto.INT32), pixels, samples)
    return weighted_reads(build, grid, table, row, index, weights)


#: Weights (pixels,samples,1) of the near (0) and the far (1) neighbour along y (0) and x (1), by
#: axis and neighbour.
Weights = dict[tuple[int, int], str]


def neighbour_weights(build: Builder, grid: SamplingGrid, far: str, mask: str = "") -> Weights:
    """The weights of the four neighbours of each sample.

    Args:
        build: Collects the nodes.
        grid: Where the samples lie.
        far: Distance to the near neighbour, y and x, in cells: (pixels,samples,2).
        mask: See `gather`.
    """
    near = build.op("Sub", [build.const(1.0), far])
    weights = {
        (axis, kind): build.slice(value, 2, axis, axis + 1)
        for kind, value in enumerate((near, far))
        for axis in (0, 1)
    }
    if mask:
        pixels, samples = grid.pixels, grid.samples
        mask = build.op("Transpose", [build.reshape(mask, samples, pixels)], perm=[1, 0])
        mask = build.reshape(mask, pixels, samples, 1)
        weights |= {(0, kind): build.op("Mul", [weights[0, kind], mask]) for kind in (0, 1)}
    return weights


def weighted_reads(
    build: Builder, grid: SamplingGrid, table: str, row: int, index: str, weights: Weights
) -> str:
    """The weighted sums of four neighbouring pixels for each sample: (pixels, kernel, C).

    Args:
        build: Collects the nodes.
        grid: Where the samples lie.
        table: Pixels by channels.
        row: How many pixels of the table lie side by side.
        index: The pixel of the near neighbours, int32 (pixels,samples).
        weights: From `neighbour_weights`.
    """
    channels, samples, groups = grid.shape[1], grid.samples, grid.groups
    parts = []
    for group in range(groups):
        rows = _group_slice(build, table, group, groups, channels)
        total = ""
        for down, right in itertools.product((0, 1), repeat=2):
            position = index
            if down or right:
                position = build.op("Add", [index, build.const(down * row + right, np.int32)])
            weight = build.op("Mul", [weights[0, down], weights[1, right]])
            position = _group_slice(build, position, group, groups, samples)
            weight = _group_slice(build, weight, group, groups, samples)
            read = build.op("Mul", [build.op("Gather", [rows, position], axis=0), weight])
            total = build.op("Add", [total, read]) if total else read
        parts.append(total)
    return build.op("Concat", parts, axis=2) if groups > 1 else parts[0]


def multiply(
    build: Builder,
    grid: SamplingGrid,
    columns: str,
    weight: Array,
    bias: str = "",
    output: str = "",
) -> str:
    """Samples (pixels, kernel, C) times weights (O,C,kh,kw), plus bias (O): (1,O,Ho,Wo)."""
    columns = build.reshape(columns, grid.pixels, weight[0].size)
    matrix = weight.transpose(2, 3, 1, 0).reshape(weight[0].size, -1)
    result = build.op("MatMul", [columns, build.const(matrix, stem="weight")])
    if bias:
        result = build.op("Add", [result, bias])
    result = build.op("Transpose", [result], perm=[1, 0])
    return build.reshape(result, 1, len(weight), *grid.out, output=output)


def _group_slice(build: Builder, value: str, group: int, groups: int, size: int) -> str:
    """One group's part of the second axis, which has `size` entries."""
    part = size // groups
    return value if groups == 1 else build.slice(value, 1, group * part, (group + 1) * part)


def shared(build: Builder, array: Array) -> str:
    """A constant that all layers with the same grid share."""
    digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
    name = f"samples_{'x'.join(map(str, array.shape))}_{digest}"
    build.graph.constants[name] = array
    return name
