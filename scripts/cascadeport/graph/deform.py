"""Deformable convolution: the operator of opset 19, or gathers and one matrix product."""

from __future__ import annotations

import numpy as np
import onnx

from ..errors import CascadeportError
from .editing import Builder, attribute
from .rewriting import Shapes, static


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
    """Rule: standard operators of opset 11.

    The picture becomes a table of pixels (rows) by channels, with a frame of zeros. Each sample
    reads four neighbouring rows and weighs them; the samples of one output pixel, side by side,
    are a row of the matrix that is multiplied by the weights. A sample outside the picture is
    moved onto the frame, where it reads zeros, as in mmcv and torchvision.
    """
    x, weight_name, offset, *bias = node.input
    _, channels, height, width = static(known, x, node)
    _, _, out_height, out_width = static(known, offset, node)
    groups = attribute(node, "deform_groups", 1)
    weight = build.graph.constants[weight_name]
    kernel = weight.shape[2] * weight.shape[3]
    if attribute(node, "groups", 1) != 1:
        raise CascadeportError(
            "Deformable convolution with groups cannot be said in standard operators here.",
            where=f"node {node.name}, groups = {attribute(node, 'groups')}",
            next="Use the lowering `onnxruntime`, which has the operator itself.",
        )

    table = build.op("Pad", [x, build.ints(0, 0, 1, 1, 0, 0, 1, 1)])
    row = width + 2
    table = build.reshape(table, channels, (height + 2) * row)
    table = build.op("Transpose", [table], perm=[1, 0])

    # (2*groups*kernel, pixels) -> (pixels, groups*kernel, 2): y and x of every sample.
    moved = build.reshape(offset, 2 * groups * kernel, out_height * out_width)
    moved = build.op("Transpose", [moved], perm=[1, 0])
    moved = build.reshape(moved, out_height * out_width, groups * kernel, 2)
    base = _sample_positions(node, weight.shape[2:], (out_height, out_width))
    base = np.tile(base, (1, groups, 1))
    samples = build.op("Add", [moved, _shared(build, base)])
    samples = build.op("Max", [samples, build.const([-1.0, -1.0])])
    samples = build.op("Min", [samples, build.const([height, width])])
    corner = build.op("Floor", [samples])
    corner = build.op("Min", [corner, build.const([height - 1, width - 1])])
    far = build.op("Sub", [samples, corner])  # the share of the far neighbour, y and x
    near = build.op("Sub", [build.const(1.0), far])

    # Row of the table: (y + 1) * row + (x + 1); exact in float32 below 2**24 pixels.
    assert (height + 2) * row < 2**24
    index = build.op("Mul", [corner, build.const([row, 1.0])])
    index = build.op("Add", [build.slice(index, 2, 0, 1), build.slice(index, 2, 1, 2)])
    index = build.op("Add", [index, build.const(row + 1.0)])
    index = build.op("Cast", [index], to=onnx.TensorProto.INT32)
    index = build.reshape(index, out_height * out_width, groups * kernel)
    share = {
        (axis, kind): build.slice(each, 2, axis, axis + 1)
        for kind, each in enumerate((near, far))
        for axis in (0, 1)
    }

    parts = []
    for group in range(groups):
        size = channels // groups
        rows = table
        if groups > 1:
            rows = build.slice(table, 1, group * size, (group + 1) * size)
        total = ""
        for down in (0, 1):
            for right in (0, 1):
                place, amount = index, build.op("Mul", [share[0, down], share[1, right]])
                if down or right:
                    step = build.const(down * row + right, np.int32)
                    place = build.op("Add", [index, step])
                if groups > 1:
                    own = (group * kernel, (group + 1) * kernel)
                    place = build.slice(place, 1, *own)
                    amount = build.slice(amount, 1, *own)
                read = build.op("Mul", [build.op("Gather", [rows, place], axis=0), amount])
                total = build.op("Add", [total, read]) if total else read
        parts.append(total)
    columns = build.op("Concat", parts, axis=2) if groups > 1 else parts[0]
    columns = build.reshape(columns, out_height * out_width, kernel * channels)
    matrix = weight.transpose(2, 3, 1, 0).reshape(kernel * channels, -1)
    result = build.op("MatMul", [columns, build.const(matrix, stem="weight")])
    if bias:
        result = build.op("Add", [result, bias[0]])
    result = build.op("Transpose", [result], perm=[1, 0])
    build.reshape(result, 1, weight.shape[0], out_height, out_width, output=node.output[0])


def _sample_positions(
    node: onnx.NodeProto, kernel: tuple[int, ...], out: tuple[int, int]
) -> np.ndarray:
    """Where a plain convolution would sample: float32 (pixels, kernel, 2), y and x."""
    strides, dilations = attribute(node, "strides"), attribute(node, "dilations")
    pads = attribute(node, "pads")[:2]
    y, x, i, j = np.meshgrid(
        np.arange(out[0]), np.arange(out[1]), np.arange(kernel[0]), np.arange(kernel[1]),
        indexing="ij",
    )  # fmt: skip
    y = y * strides[0] - pads[0] + i * dilations[0]
    x = x * strides[1] - pads[1] + j * dilations[1]
    stacked = np.stack([y, x], axis=-1)
    return stacked.reshape(out[0] * out[1], -1, 2).astype(np.float32)


def _shared(build: Builder, array: np.ndarray) -> str:
    """A constant that layers of the same geometry have in common."""
    name = f"samples_{'x'.join(map(str, array.shape))}_{hash(array.tobytes()) & 0xFFFFFFFF:08x}"
    build.graph.constants[name] = array
    return name
