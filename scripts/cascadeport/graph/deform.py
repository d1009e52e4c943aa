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
    if attribute(node, "groups", 1) != 1:
        raise CascadeportError(
            "Deformable convolution with groups cannot be said in standard operators here.",
            where=f"node {node.name}, groups = {attribute(node, 'groups')}",
            next="Use the lowering `onnxruntime`, which has the operator itself.",
        )
    geometry = Geometry(
        shape=static(known, x, node),
        kernel=build.graph.constants[weight].shape[2:],
        strides=attribute(node, "strides"),
        pads=attribute(node, "pads")[:2],
        dilations=attribute(node, "dilations"),
        out=static(known, offset, node)[2:],
        groups=attribute(node, "deform_groups", 1),
    )
    if geometry.pixels * geometry.samples > MAX_SAMPLES:
        raise CascadeportError(
            f"A deformable convolution of {geometry.pixels * geometry.samples:,} samples is too "
            "large for gathers.",
            where=f"node {node.name}",
            next="Use the lowering `onnxruntime`, which has the operator itself.",
        )
    columns = gather(build, geometry, x, offset)
    matrix = build.graph.constants[weight]
    multiply(build, geometry, columns, matrix, bias[0] if bias else "", node.output[0])


@dataclass(frozen=True)
class Geometry:
    """Where a deformable convolution samples; pairs are height, width.

    Attributes:
        shape: Of its input, (1,C,H,W).
        out: Height and width of its output.
        groups: Groups of channels with offsets of their own.
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
        places = np.stack([y, x], axis=-1).reshape(self.pixels, -1, 2)
        return np.tile(places, (1, self.groups, 1)).astype(np.float32)


def gather(build: Builder, geometry: Geometry, x: str, offset: str, mask: str = "") -> str:
    """The samples of each output pixel, side by side: (pixels, kernel, C).

    The picture becomes a table of pixels (rows) by channels, with a frame of zeros. Each sample
    reads four neighbouring rows and weighs them. A sample outside the picture is moved onto the
    frame, where it reads zeros, as in mmcv and torchvision.

    Args:
        build: Where the nodes go.
        geometry: Where samples lie.
        x: (1,C,H,W).
        offset: (1,2*samples,Ho,Wo), y0,x0,y1,x1,...
        mask: (1,samples,Ho,Wo) that samples are multiplied with, if any.
    """
    _, channels, height, width = geometry.shape
    pixels, samples, groups = geometry.pixels, geometry.samples, geometry.groups
    row = width + 2
    table = build.op("Pad", [x, build.ints(0, 0, 1, 1, 0, 0, 1, 1)])
    table = build.reshape(table, channels, (height + 2) * row)
    table = build.op("Transpose", [table], perm=[1, 0])

    moved = build.op("Transpose", [build.reshape(offset, 2 * samples, pixels)], perm=[1, 0])
    moved = build.reshape(moved, pixels, samples, 2)
    places = build.op("Add", [moved, _shared(build, geometry.positions())])
    places = build.op("Max", [places, build.const([-1.0, -1.0])])
    places = build.op("Min", [places, build.const([height, width])])
    corner = build.op("Min", [build.op("Floor", [places]), build.const([height - 1, width - 1])])
    far = build.op("Sub", [places, corner])  # the share of the far neighbour, y and x
    near = build.op("Sub", [build.const(1.0), far])
    share = {
        (axis, kind): build.slice(each, 2, axis, axis + 1)
        for kind, each in enumerate((near, far))
        for axis in (0, 1)
    }
    if mask:
        mask = build.op("Transpose", [build.reshape(mask, samples, pixels)], perm=[1, 0])
        mask = build.reshape(mask, pixels, samples, 1)
        share |= {(0, kind): build.op("Mul", [share[0, kind], mask]) for kind in (0, 1)}

    # Row of the table: (y + 1) * row + (x + 1); exact in float32 below 2**24 pixels.
    assert (height + 2) * row < 2**24
    index = build.op("Mul", [corner, build.const([row, 1.0])])
    index = build.op("Add", [build.slice(index, 2, 0, 1), build.slice(index, 2, 1, 2)])
    index = build.op("Add", [index, build.const(row + 1.0)])
    index = build.reshape(build.op("Cast", [index], to=onnx.TensorProto.INT32), pixels, samples)

    parts = []
    for group in range(groups):
        rows = _share(build, table, group, groups, channels)
        total = ""
        for down, right in itertools.product((0, 1), repeat=2):
            place = index
            if down or right:
                place = build.op("Add", [index, build.const(down * row + right, np.int32)])
            amount = build.op("Mul", [share[0, down], share[1, right]])
            place = _share(build, place, group, groups, samples)
            amount = _share(build, amount, group, groups, samples)
            read = build.op("Mul", [build.op("Gather", [rows, place], axis=0), amount])
            total = build.op("Add", [total, read]) if total else read
        parts.append(total)
    return build.op("Concat", parts, axis=2) if groups > 1 else parts[0]


def multiply(
    build: Builder,
    geometry: Geometry,
    columns: str,
    weight: Array,
    bias: str = "",
    output: str = "",
) -> str:
    """Samples (pixels, kernel, C) times weights (O,C,kh,kw), plus bias (O): (1,O,Ho,Wo)."""
    columns = build.reshape(columns, geometry.pixels, weight[0].size)
    matrix = weight.transpose(2, 3, 1, 0).reshape(weight[0].size, -1)
    result = build.op("MatMul", [columns, build.const(matrix, stem="weight")])
    if bias:
        result = build.op("Add", [result, bias])
    result = build.op("Transpose", [result], perm=[1, 0])
    return build.reshape(result, 1, len(weight), *geometry.out, output=output)


def _share(build: Builder, value: str, group: int, groups: int, size: int) -> str:
    """A group's part of the second axis, which has `size` entries."""
    part = size // groups
    return value if groups == 1 else build.slice(value, 1, group * part, (group + 1) * part)


def _shared(build: Builder, array: Array) -> str:
    """A constant that layers of the same geometry have in common."""
    digest = hashlib.sha256(array.tobytes()).hexdigest()[:16]
    name = f"samples_{'x'.join(map(str, array.shape))}_{digest}"
    build.graph.constants[name] = array
    return name
