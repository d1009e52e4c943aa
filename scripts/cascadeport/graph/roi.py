"""RoI features from the matching pyramid level, by one RoiAlign per level."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Builder, attribute
from cascadeport.graph.rewriting import Rule, Shapes, side


@dataclass(frozen=True)
class Level:
    """One level of the pyramid, and how RoIs are cropped from it.

    Attributes:
        scale: Cells per pixel of the network's input.
        size: Height and width of a crop.
        mode: RoiAlign's coordinate transformation mode from opset 16 on; empty before.
        shift: Number of cells by which RoIs are first moved up and left.
        keep_thin: Whether thin RoIs stay thin although RoiAlign would widen them.
    """

    feature: str
    channels: int
    scale: float
    size: tuple[int, int]
    sampling_ratio: int
    mode: str = ""
    shift: float = 0.0
    keep_thin: bool = False


#: Indices of RoIs, and their crops (n,C,h,w).
Part = tuple[str, str]


def roi_extractor(opset: int) -> Rule:
    """The rule for RoiExtractor in `opset`.

    RoiAlign has a choice of coordinates only from opset 16 on. Before, it computes
    `aligned=False`: it does not shift by half a pixel, for which the boxes are moved instead, and
    it widens every RoI to at least one cell of its level, which would change the thin RoIs that
    clipping leaves at the edges.
    """

    def rule(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        *features, rois = node.input
        aligned, ratio = bool(attribute(node, "aligned")), attribute(node, "sampling_ratio")
        undo = aligned and opset < 16
        if undo and ratio:
            raise CascadeportError(
                "RoIAlign with a fixed sampling ratio cannot be expressed in opset 11.",
                where=f"node {node.name}, sampling_ratio = {ratio}",
                next="Set sampling_ratio=0 in the config, or use the lowering `onnxruntime`.",
            )
        modern = "half_pixel" if aligned else "output_half_pixel"
        height, width = attribute(node, "output_size")
        pyramid = [
            Level(
                feature=feature,
                channels=side(known, feature, 1, node),
                scale=scale,
                size=(height, width),
                sampling_ratio=ratio,
                mode=modern if opset >= 16 else "",
                shift=0.5 if undo else 0.0,
                keep_thin=undo,
            )
            for feature, scale in zip(features, attribute(node, "spatial_scales"), strict=True)
        ]
        boxes = build.slice(rois, 1, 1, 5)
        chosen = levels(build, boxes, len(pyramid), attribute(node, "finest_scale"))
        crop(build, pyramid, rois, chosen, node.output[0])

    return rule


def levels(build: Builder, boxes: str, count: int, finest_scale: int) -> list[str]:
    """The indices of the boxes (N,4) that belong to each level."""
    masks = level_masks(build, root_of_area(build, boxes), count, finest_scale)
    return [_where(build, mask) for mask in masks]


def level_masks(build: Builder, root: str, count: int, finest_scale: float) -> list[str]:
    """Whether a box belongs to each level: boolean (N,1), from the root of its area (N,1).

    mmdet takes floor(log2(sqrt(area) / finest_scale + 1e-6)), clipped to the levels
    (mmdet/models/roi_heads/roi_extractors/single_level_roi_extractor.py). Comparing with powers of
    two gives the same without a logarithm, which rounds differently on every machine.
    """
    scale = build.op("Div", [root, build.const(float(finest_scale))])
    scale = build.op("Add", [scale, build.const(1e-6)])
    below = [build.op("Less", [scale, build.const(2.0**level)]) for level in range(1, count)]
    return _between(build, scale, [build.op("Not", [mask]) for mask in below])


def root_of_area(build: Builder, boxes: str) -> str:
    """sqrt(width * height) of boxes (N,4): (N,1)."""
    return build.op("Sqrt", [build.op("Mul", _sides(build, boxes))])


def between(build: Builder, scale: str, above: list[str]) -> list[str]:
    """Indices per level, from masks (N,1) that say whether a box is above level 0, 1, ..."""
    return [_where(build, mask) for mask in _between(build, scale, above)]


def _between(build: Builder, scale: str, above: list[str]) -> list[str]:
    masks = []
    for level in range(len(above) + 1):
        terms = [above[level - 1]] if level else []
        terms += [build.op("Not", [above[level]])] if level < len(above) else []
        # A single level takes every box.
        terms = terms or [build.op("Less", [scale, build.const(np.inf)])]
        masks.append(build.op("And", terms) if len(terms) == 2 else terms[0])
    return masks


def crop(build: Builder, pyramid: list[Level], rois: str, chosen: list[str], output: str) -> None:
    """Crops RoIs (N,5) from their levels; `chosen` are the indices of each level's RoIs."""
    parts: list[Part] = []
    for level, index in zip(pyramid, chosen, strict=True):
        parts += (_crops_of_thin if level.keep_thin else _crops)(build, level, rois, index)
    # From the order of the levels back to that of the RoIs: sorting a permutation inverts it.
    order = build.op("Concat", [index for index, _ in parts], axis=0)
    names = [build.graph.fresh(f"{build.prefix}/{stem}") for stem in ("sorted", "positions")]
    build.op("TopK", [order, build.op("Shape", [order])], outputs=names, axis=0, largest=0)
    merged = build.op("Concat", [crops for _, crops in parts], axis=0)
    build.op("Gather", [merged, names[1]], outputs=[output], axis=0)


def _crops(build: Builder, level: Level, rois: str, index: str) -> list[Part]:
    own = build.op("Gather", [rois, index], axis=0)
    return [(index, _cut(build, level, own, (False, False)))]


def _crops_of_thin(build: Builder, level: Level, rois: str, index: str) -> list[Part]:
    """The crops of one level by a RoiAlign that widens thin RoIs to one cell.

    RoIs are grouped by which of their sides are thin, and thin sides are cut into bins.
    """
    rois = build.op("Gather", [rois, index], axis=0)
    sides = _sides(build, build.slice(rois, 1, 1, 5))
    thin = [build.op("Less", [side, build.const(1 / level.scale)]) for side in sides]
    wide = [build.op("Not", [mask]) for mask in thin]
    parts = []
    for cut in itertools.product((False, True), repeat=2):
        masks = [(thin if cut[axis] else wide)[axis] for axis in (0, 1)]
        matching = _where(build, build.op("And", masks))
        own = build.op("Gather", [rois, matching], axis=0)
        parts.append((build.op("Gather", [index, matching], axis=0), _cut(build, level, own, cut)))
    return parts


def _cut(build: Builder, level: Level, rois: str, cut: tuple[bool, ...]) -> str:
    """Crops of RoIs whose width (cut[0]) or height (cut[1]) is below one cell of the level.

    A bin of a thin side holds one sample, in its middle. A RoI of zero
    extent that starts half a cell earlier is widened by RoiAlign to one cell around that point
    and has its one sample there.
    """
    height, width = level.size
    columns, rows = width if cut[0] else 1, height if cut[1] else 1
    boxes, picture = build.slice(rois, 1, 1, 5), build.slice(rois, 1, 0, 1)
    if level.shift:
        boxes = build.op("Sub", [boxes, build.const(level.shift / level.scale)])
    if not any(cut):
        return align(build, level, boxes, picture, level.size)

    extents = _sides(build, boxes)
    starts, ends = [], []
    for axis, bins in enumerate((columns, rows)):
        start, end = (build.slice(boxes, 1, side, side + 1) for side in (axis, axis + 2))
        if cut[axis]:
            middles = build.const((np.arange(bins) + 0.5).reshape(1, bins) / bins)
            start = build.op("Add", [start, build.op("Mul", [extents[axis], middles])])
            start = end = build.op("Sub", [start, build.const(0.5 / level.scale)])
        shape = (1, bins, 1) if axis == 0 else (bins, 1, 1)
        starts.append(build.reshape(start, -1, *shape))
        ends.append(build.reshape(end, -1, *shape))
    zeros = build.const(np.zeros((1, rows, columns, 1)))  # broadcasts to one entry per bin
    table = [build.op("Add", [side, zeros]) for side in (*starts, *ends)]
    boxes = build.reshape(build.op("Concat", table, axis=3), -1, 4)
    picture = build.op("Add", [build.reshape(picture, -1, 1, 1, 1), zeros])
    bins_size = (height // rows, width // columns)
    crops = align(build, level, boxes, build.reshape(picture, -1, 1), bins_size)

    crops = build.reshape(crops, -1, rows, columns, level.channels, *bins_size)
    crops = build.op("Transpose", [crops], perm=[0, 3, 1, 4, 2, 5])
    crops = build.reshape(crops, -1, level.channels, height, width)
    # A RoI of zero extent has no sample in mmcv: its crop is zero.
    area = build.op("Greater", [build.op("Mul", extents), build.const(0.0)])
    area = build.reshape(build.op("Cast", [area], to=onnx.TensorProto.FLOAT), -1, 1, 1, 1)
    return build.op("Mul", [crops, area])


def align(build: Builder, level: Level, boxes: str, picture: str, size: tuple[int, int]) -> str:
    """Crops (N,C,h,w) of boxes (N,4) from a level; `picture` (N,1) is their index in the batch."""
    index = build.op("Cast", [picture], to=onnx.TensorProto.INT64)
    options = {"coordinate_transformation_mode": level.mode} if level.mode else {}
    return build.op(
        "RoiAlign",
        [level.feature, boxes, build.reshape(index, -1)],
        output_height=size[0],
        output_width=size[1],
        spatial_scale=level.scale,
        sampling_ratio=level.sampling_ratio,
        **options,
    )


def _sides(build: Builder, boxes: str) -> list[str]:
    """Width and height of boxes (N,4), each (N,1)."""
    lower, upper = build.slice(boxes, 1, 0, 2), build.slice(boxes, 1, 2, 4)
    sides = build.op("Sub", [upper, lower])
    return [build.slice(sides, 1, axis, axis + 1) for axis in (0, 1)]


def _where(build: Builder, mask: str) -> str:
    """The indices at which a mask (N,1) is true."""
    return build.reshape(build.op("NonZero", [build.reshape(mask, -1)]), -1)
