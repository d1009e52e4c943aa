"""RoI features from the fitting pyramid level, by RoiAlign of each level."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import onnx

from ..errors import CascadeportError
from .editing import Builder, attribute
from .rewriting import Rule, Shapes, static


def roi_extractor(opset: int) -> Rule:
    """The rule for RoiExtractor in `opset`.

    RoiAlign says where pixels lie only from opset 16 on; see `_crops_before_16` for older ones.
    """

    def rule(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        *features, rois = node.input
        aligned, ratio = bool(attribute(node, "aligned")), attribute(node, "sampling_ratio")
        crop, mode = _crops, ""
        if opset >= 16:
            mode = "half_pixel" if aligned else "output_half_pixel"
        elif aligned and ratio:
            raise CascadeportError(
                "RoIAlign with a fixed sampling ratio cannot be said in operators of opset 11.",
                where=f"node {node.name}, sampling_ratio = {ratio}",
                next="Set sampling_ratio=0 in the config, or use the lowering `onnxruntime`.",
            )
        elif aligned:
            crop = _crops_before_16
        size = tuple(attribute(node, "output_size"))
        finest = attribute(node, "finest_scale")
        chosen = levels(build, build.slice(rois, 1, 1, 5), len(features), finest)
        parts: list[Part] = []
        for feature, scale, index in zip(
            features, attribute(node, "spatial_scales"), chosen, strict=True
        ):
            channels = static(known, feature, node)[1]
            level = _Level(feature, channels, scale, size, ratio, mode)
            parts += crop(build, level, rois, index)
        # From the order of levels back to that of the RoIs: where a permutation puts 0, 1, 2...
        # is what sorting it says.
        order = build.op("Concat", [index for index, _ in parts], axis=0)
        names = [build.graph.fresh(f"{build.prefix}/{stem}") for stem in ("sorted", "places")]
        build.op("TopK", [order, build.op("Shape", [order])], outputs=names, axis=0, largest=0)
        merged = build.op("Concat", [crops for _, crops in parts], axis=0)
        build.op("Gather", [merged, names[1]], outputs=[node.output[0]], axis=0)

    return rule


def levels(build: Builder, boxes: str, count: int, finest_scale: int) -> list[str]:
    """The indices of the boxes (N,4) that belong to each level.

    mmdet takes floor(log2(sqrt(area) / finest_scale + 1e-6)), clipped to the levels
    (mmdet/models/roi_heads/roi_extractors/single_level_roi_extractor.py). A comparison with the
    powers of two says the same without a logarithm that rounds differently on every machine.
    """
    width, height = _sides(build, boxes)
    scale = build.op("Sqrt", [build.op("Mul", [width, height])])
    scale = build.op("Div", [scale, build.const(float(finest_scale))])
    scale = build.op("Add", [scale, build.const(1e-6)])
    below = [build.op("Less", [scale, build.const(2.0**level)]) for level in range(1, count)]
    masks = []
    for level in range(count):
        terms = [below[level]] if level < count - 1 else []
        terms += [build.op("Not", [below[level - 1]])] if level > 0 else []
        # A single level takes every box.
        terms = terms or [build.op("Less", [scale, build.const(np.inf)])]
        masks.append(build.op("And", terms) if len(terms) == 2 else terms[0])
    return [_where(build, mask) for mask in masks]


#: Indices of RoIs, and their crops (n,C,h,w).
Part = tuple[str, str]


@dataclass(frozen=True)
class _Level:
    """One level of the pyramid, and how RoIs are cropped from it."""

    feature: str
    channels: int
    scale: float
    size: tuple[int, int]
    sampling_ratio: int
    mode: str  # of RoiAlign from opset 16 on


def _crops(build: Builder, level: _Level, rois: str, index: str) -> list[Part]:
    """The crops of one level, where RoiAlign means what mmcv means."""
    own = build.op("Gather", [rois, index], axis=0)
    boxes = build.slice(own, 1, 1, 5)
    return [(index, _align(build, level, boxes, build.slice(own, 1, 0, 1), level.size))]


def _crops_before_16(build: Builder, level: _Level, rois: str, index: str) -> list[Part]:
    """The crops of one level, exactly, by a RoiAlign that puts pixels elsewhere.

    RoiAlign of opset 10 means `aligned=False`: no shift by half a pixel, which moving the boxes
    undoes, and no RoI thinner than one cell of the level: it would widen the thin RoIs that
    clipping leaves at the edges. So RoIs are taken apart by which sides are thin, and thin sides
    are cut into their bins.
    """
    rois = build.op("Gather", [rois, index], axis=0)
    sides = _sides(build, build.slice(rois, 1, 1, 5))
    thin = [build.op("Less", [side, build.const(1 / level.scale)]) for side in sides]
    wide = [build.op("Not", [mask]) for mask in thin]
    parts = []
    for cut in itertools.product((False, True), repeat=2):
        masks = [(thin if cut[axis] else wide)[axis] for axis in (0, 1)]
        place = _where(build, build.op("And", masks))
        own = build.op("Gather", [rois, place], axis=0)
        parts.append((build.op("Gather", [index, place], axis=0), _cut(build, level, own, cut)))
    return parts


def _cut(build: Builder, level: _Level, rois: str, cut: tuple[bool, ...]) -> str:
    """Crops of RoIs whose width (cut[0]) or height (cut[1]) is below one cell of the level.

    A bin of a thin side holds one sample, in its middle. A RoI without extent that starts half a
    cell before it is widened by RoiAlign to one cell around it, and has one sample there.
    """
    height, width = level.size
    columns, rows = width if cut[0] else 1, height if cut[1] else 1
    half = build.const(0.5 / level.scale)
    boxes = build.op("Sub", [build.slice(rois, 1, 1, 5), half])
    picture = build.slice(rois, 1, 0, 1)
    if not any(cut):
        return _align(build, level, boxes, picture, level.size)

    extents = _sides(build, boxes)
    starts, ends = [], []
    for axis, bins in enumerate((columns, rows)):
        start, end = (build.slice(boxes, 1, each, each + 1) for each in (axis, axis + 2))
        if cut[axis]:
            middles = build.const((np.arange(bins) + 0.5).reshape(1, bins) / bins)
            start = build.op("Add", [start, build.op("Mul", [extents[axis], middles])])
            start = end = build.op("Sub", [start, half])
        shape = (1, bins, 1) if axis == 0 else (bins, 1, 1)
        starts.append(build.reshape(start, -1, *shape))
        ends.append(build.reshape(end, -1, *shape))
    every = build.const(np.zeros((1, rows, columns, 1)))
    table = [build.op("Add", [each, every]) for each in (*starts, *ends)]
    boxes = build.reshape(build.op("Concat", table, axis=3), -1, 4)
    picture = build.op("Add", [build.reshape(picture, -1, 1, 1, 1), every])
    bins_size = (height // rows, width // columns)
    crops = _align(build, level, boxes, build.reshape(picture, -1, 1), bins_size)

    crops = build.reshape(crops, -1, rows, columns, level.channels, *bins_size)
    crops = build.op("Transpose", [crops], perm=[0, 3, 1, 4, 2, 5])
    crops = build.reshape(crops, -1, level.channels, height, width)
    # A RoI without any extent has no sample at all in mmcv: its crop is zero.
    area = build.op("Greater", [build.op("Mul", extents), build.const(0.0)])
    area = build.reshape(build.op("Cast", [area], to=onnx.TensorProto.FLOAT), -1, 1, 1, 1)
    return build.op("Mul", [crops, area])


def _align(build: Builder, level: _Level, boxes: str, picture: str, size: tuple[int, int]) -> str:
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
    """The indices at which a mask (N,1) holds."""
    return build.reshape(build.op("NonZero", [build.reshape(mask, -1)]), -1)
