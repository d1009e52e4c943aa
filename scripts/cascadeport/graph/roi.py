"""RoI features from the fitting pyramid level, by RoiAlign of each level."""

from __future__ import annotations

import numpy as np
import onnx

from .editing import Builder, attribute
from .rewriting import Rule, Shapes


def roi_extractor(opset: int) -> Rule:
    """The rule for RoiExtractor in `opset` (RoiAlign says where pixels lie only from 16 on)."""

    def rule(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        *features, rois = node.input
        scales = attribute(node, "spatial_scales")
        aligned = bool(attribute(node, "aligned"))
        height, width = attribute(node, "output_size")
        boxes = build.slice(rois, 1, 1, 5)
        pictures = build.op("Cast", [build.slice(rois, 1, 0, 1)], to=onnx.TensorProto.INT64)
        pictures = build.reshape(pictures, -1)
        options = {
            "output_height": height,
            "output_width": width,
            "sampling_ratio": attribute(node, "sampling_ratio"),
        }
        if opset >= 16:
            mode = "half_pixel" if aligned else "output_half_pixel"
            options["coordinate_transformation_mode"] = mode

        order, crops = [], []
        chosen = levels(build, boxes, len(features), attribute(node, "finest_scale"))
        for feature, scale, index in zip(features, scales, chosen, strict=True):
            own = build.op("Gather", [boxes, index], axis=0)
            if aligned and opset < 16:
                own = build.op("Sub", [own, build.const(0.5 / scale)])
            picture = build.op("Gather", [pictures, index], axis=0)
            inputs = [feature, own, picture]
            crops.append(build.op("RoiAlign", inputs, spatial_scale=scale, **options))
            order.append(index)
        # Back from the order of levels to that of the RoIs: where a permutation puts 0, 1, 2...
        # is what sorting it says.
        order_all = build.op("Concat", order, axis=0)
        count = build.op("Shape", [order_all])
        names = [build.graph.fresh(f"{build.prefix}/{stem}") for stem in ("sorted", "places")]
        build.op("TopK", [order_all, count], outputs=names, axis=0, largest=0)
        merged = build.op("Concat", crops, axis=0)
        build.op("Gather", [merged, names[1]], outputs=[node.output[0]], axis=0)

    return rule


def levels(build: Builder, boxes: str, count: int, finest_scale: int) -> list[str]:
    """The indices of the boxes (N,4) that belong to each level.

    mmdet takes floor(log2(sqrt(area) / finest_scale + 1e-6)), clipped to the levels
    (mmdet/models/roi_heads/roi_extractors/single_level_roi_extractor.py). A comparison with the
    powers of two says the same without a logarithm that rounds differently on every machine.
    """
    lower, upper = build.slice(boxes, 1, 0, 2), build.slice(boxes, 1, 2, 4)
    sides = build.op("Sub", [upper, lower])
    area = build.op("Mul", [build.slice(sides, 1, 0, 1), build.slice(sides, 1, 1, 2)])
    scale = build.op("Div", [build.op("Sqrt", [area]), build.const(float(finest_scale))])
    scale = build.reshape(build.op("Add", [scale, build.const(1e-6)]), -1)
    below = [
        build.op("Less", [scale, build.const(2.0**level)]) for level in range(1, count)
    ]  # below[k]: the level is at most k
    masks = []
    for level in range(count):
        terms = [below[level]] if level < count - 1 else []
        terms += [build.op("Not", [below[level - 1]])] if level > 0 else []
        if not terms:  # one level takes all
            masks.append(build.op("Less", [scale, build.const(np.inf)]))
        else:
            masks.append(build.op("And", terms) if len(terms) == 2 else terms[0])
    return [build.reshape(build.op("NonZero", [mask]), -1) for mask in masks]
