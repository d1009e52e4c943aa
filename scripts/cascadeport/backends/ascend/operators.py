"""CANN's operators in a domain of their own, so that ONNX's tools can process them.

`atc` expects them in the default domain, where ONNX's version converter and shape inference fail
on them; so the reference executor first moves them into the domain `cann`.
"""

from __future__ import annotations

from typing import Any

import onnx

from cascadeport.graph.schemas import optional, register, set_output, shape_of

DOMAIN = "cann"
VERSION = 1
OPERATORS = ("DeformableConv2D", "RoiExtractor", "BatchMultiClassNMS")
FLOAT = onnx.TensorProto.FLOAT


def _infer_conv(context: Any) -> None:
    weight, offsets = shape_of(context, 1), shape_of(context, 2)
    if weight and offsets:
        set_output(context, 0, FLOAT, [1, weight[0], offsets[2], offsets[3]])


def _infer_roi(context: Any) -> None:
    feature, rois = shape_of(context, 0), shape_of(context, context.get_num_inputs() - 1)
    side = context.get_attribute("pooled_height").i
    count, channels = rois[0] if rois else None, feature[1] if feature else None
    set_output(context, 0, FLOAT, [count, channels, side, side])


def _infer_nms(context: Any) -> None:
    count = context.get_attribute("max_total_size").i
    shapes: list[list[int | str | None]] = [[1, count, 4], [1, count], [1, count], [1]]
    for index, shape in enumerate(shapes):
        set_output(context, index, FLOAT, shape)


_ANY = "tensor(float)"
register(
    "DeformableConv2D",
    DOMAIN,
    _infer_conv,
    [("x", _ANY), ("weight", _ANY), ("offsets", _ANY), ("bias", _ANY, "Optional")],
    [("y", _ANY)],
    optional(
        strides="INTS",
        pads="INTS",
        dilations="INTS",
        groups="INT",
        deformable_groups="INT",
        data_format="STRING",
        modulated="INT",
    ),
)
register(
    "RoiExtractor",
    DOMAIN,
    _infer_roi,
    [("features_and_rois", _ANY, "Variadic")],
    [("crops", _ANY)],
    optional(
        finest_scale="INT",
        roi_scale_factor="FLOAT",
        spatial_scale="FLOATS",
        pooled_height="INT",
        pooled_width="INT",
        sample_num="INT",
        pool_mode="STRING",
        aligned="INT",
    ),
)
register(
    "BatchMultiClassNMS",
    DOMAIN,
    _infer_nms,
    [("boxes", _ANY), ("scores", _ANY)],
    [("boxes", _ANY), ("scores", _ANY), ("classes", _ANY), ("num", _ANY)],
    optional(
        score_threshold="FLOAT",
        iou_threshold="FLOAT",
        max_size_per_class="INT",
        max_total_size="INT",
    ),
)
