"""Deformable convolution as gathers and one matrix product, with positions that float16 can hold.

graph/deform.py adds offset and position before it takes the whole part. In float16 that sum has
eighths of a pixel above 128, and the index of a pixel does not fit at all. Here the offset is split
first: its fraction, below 1, is the weight; its whole part goes to the position, a whole number
below 2048, and the index is computed in int32.
"""

from __future__ import annotations

import numpy as np
import onnx

from cascadeport.graph.deform import (
    SamplingGrid,
    multiply,
    neighbour_weights,
    sampling_grid,
    shared,
    weighted_reads,
)
from cascadeport.graph.editing import Builder
from cascadeport.graph.rewriting import Shapes

INT32 = onnx.TensorProto.INT32
# Zeros around the input: samples beyond it are moved to where both neighbours are zeros.
_BORDER = 2


def deform_conv(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
    """Rule for DeformConv."""
    x, weight, offset, *bias = node.input
    grid = sampling_grid(build, node, known)
    columns = gather(build, grid, x, offset)
    matrix = build.graph.constants[weight]
    multiply(build, grid, columns, matrix, bias[0] if bias else "", node.output[0])


def gather(build: Builder, grid: SamplingGrid, x: str, offset: str) -> str:
    """The samples of each output pixel, side by side: (pixels, kernel, C).

    Args:
        build: Collects the nodes.
        grid: Where the samples lie.
        x: (1,C,H,W).
        offset: (1,2*samples,Ho,Wo), y0,x0,y1,x1,...
    """
    _, channels, height, width = grid.shape
    pixels, samples = grid.pixels, grid.samples
    row = width + 2 * _BORDER
    pads = (0, 0, _BORDER, _BORDER)
    table = build.op("Pad", [x, build.ints(*pads, *pads)])
    table = build.reshape(table, channels, (height + 2 * _BORDER) * row)
    table = build.op("Transpose", [table], perm=[1, 0])

    moved = build.op("Transpose", [build.reshape(offset, 2 * samples, pixels)], perm=[1, 0])
    moved = build.reshape(moved, pixels, samples, 2)
    whole = build.op("Floor", [moved])
    weights = neighbour_weights(build, grid, build.op("Sub", [moved, whole]))

    corner = build.op("Add", [whole, shared(build, grid.positions())])
    corner = build.op("Max", [corner, build.const([-_BORDER, -_BORDER])])
    corner = build.op("Min", [corner, build.const([height, width])])
    corner = build.op("Cast", [corner], to=INT32)
    index = build.op("Mul", [corner, build.const([row, 1], np.int32)])
    index = build.op("Add", [build.slice(index, 2, 0, 1), build.slice(index, 2, 1, 2)])
    index = build.op("Add", [index, build.const(_BORDER * (row + 1), np.int32)])
    index = build.reshape(index, pixels, samples)
    return weighted_reads(build, grid, table, row, index, weights)
