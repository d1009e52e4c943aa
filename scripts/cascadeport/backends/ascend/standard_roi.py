"""RoI features in standard operators of fixed shapes: every level crops every RoI.

A RoI of another level is cropped from an empty box at the origin, which costs one sample for a bin,
and its crop is multiplied by 0; the sum over the levels is the crop from the RoI's own.

RoiAlign of opset 11 does not align, for which the boxes are moved by half a cell, and widens thin
RoIs to one cell, as CANN's own RoiExtractor does (its plug-in sets roi_end_mode to 0:
onnx_plugins.py).
"""

from __future__ import annotations

import onnx

from cascadeport.graph.editing import Builder, attribute
from cascadeport.graph.rewriting import Shapes, static
from cascadeport.graph.roi import Level, align, level_masks, root_of_area

FLOAT = onnx.TensorProto.FLOAT
#: Boxes are scaled by this before areas are computed: in float16 the area of a box of 256 pixels
#: square is infinite. A power of two changes no bit of what is compared.
SCALE = 1 / 16


def roi_extractor(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
    """Rule for RoiExtractor."""
    *features, rois = node.input
    height, width = attribute(node, "output_size")
    boxes, picture = build.slice(rois, 1, 1, 5), build.slice(rois, 1, 0, 1)
    root = root_of_area(build, build.op("Mul", [boxes, build.const(SCALE)]))
    masks = level_masks(build, root, len(features), attribute(node, "finest_scale") * SCALE)
    shift = 0.5 if attribute(node, "aligned") else 0.0

    total = ""
    for feature, scale, mask in zip(
        features, attribute(node, "spatial_scales"), masks, strict=True
    ):
        level = Level(
            feature=feature,
            channels=static(known, feature, node)[1],
            scale=scale,
            size=(height, width),
            sampling_ratio=attribute(node, "sampling_ratio"),
        )
        own = build.op("Cast", [mask], to=FLOAT)
        moved = build.op("Sub", [boxes, build.const(shift / scale)]) if shift else boxes
        crops = align(build, level, build.op("Mul", [moved, own]), picture, level.size)
        crops = build.op("Mul", [crops, build.reshape(own, -1, 1, 1, 1)])
        total = build.op("Add", [total, crops]) if total else crops
    build.op("Identity", [total], outputs=[node.output[0]])
