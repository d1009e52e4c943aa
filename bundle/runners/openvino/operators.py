"""ONNX operators that OpenVINO lacks, or computes differently from ONNX's specification."""

from __future__ import annotations

from typing import Any, List, Optional

import numpy as np
from openvino import opset8
from openvino.frontend.onnx import ConversionExtension

# Outside of every picture, also on a level with one cell for 512 pixels; exact in float16.
_NOWHERE = (-1000, -1000, -990, -990)


def deform_conv() -> Any:
    """DeformConv, for a front end's `add_extension`.

    OpenVINO's ONNX front end has no rule for it, up to 2026.4 (openvinotoolkit/openvino, issue
    24649), though OpenVINO has the operation, with its inputs in another order.
    """
    return ConversionExtension("DeformConv", _deform_conv)


def _deform_conv(node: Any) -> List[Any]:
    """Both order offsets y0, x0, y1, x1, ..., and divide offsets and mask by groups alike.

    `bilinear_interpolation_pad`: a sample less than a pixel outside the picture is interpolated
    with zeros, as in ONNX, mmcv and torchvision. Without it OpenVINO moves such samples inside.
    """
    data, filters, offsets = (node.get_input(index) for index in range(3))
    bias, mask = _optional(node, 3), _optional(node, 4)
    pads = node.get_attribute("pads", [0, 0, 0, 0])
    result = opset8.deformable_convolution(
        data,
        offsets,
        filters,
        node.get_attribute("strides", [1, 1]),
        pads[:2],
        pads[2:],
        node.get_attribute("dilations", [1, 1]),
        mask,
        group=node.get_attribute("group", 1),
        deformable_group=node.get_attribute("offset_group", 1),
        bilinear_interpolation_pad=True,
    )
    if bias is not None:
        column = opset8.reshape(bias, np.array([1, -1, 1, 1], np.int64), special_zero=False)
        result = opset8.add(result, column)
    return result.outputs()


def _optional(node: Any, index: int) -> Optional[Any]:
    """An optional input: left out at the end, or given by an empty name before others."""
    try:
        value = node.get_input(index)  # the ONNX front end does not say how many inputs a node has
    except IndexError:
        return None
    return None if value.get_node().get_type_name() == "NullNode" else value


def correct(model: Any) -> None:
    """Makes a model that was read compute what ONNX specifies."""
    for node in model.get_ordered_ops():
        correction = _CORRECTIONS.get(node.get_type_name())
        if correction is not None:
            correction(node)
    model.validate_nodes_and_infer_types()


def _correct_roi_align(node: Any) -> None:
    """Makes the crop of an empty RoI zero, as in onnxruntime and mmcv.

    Such a RoI has no samples. OpenVINO divides their sum, 0, by their number, 0, and the layers
    that follow turn the NaN into false detections. Clipping at the picture's edges does produce
    such RoIs. Here they are moved outside the picture, where every sample is zero.
    """
    attributes = node.get_attributes()
    if attributes["sampling_ratio"] or attributes["aligned_mode"] != "half_pixel_for_nn":
        return  # even an empty RoI has samples
    rois = node.input_value(1)
    kind = rois.get_element_type().to_dtype()
    # In the precision of the operator: corners may coincide once they are scaled.
    scaled = opset8.multiply(rois, np.array(attributes["spatial_scale"], kind))
    corners = opset8.subtract(scaled, np.array(0.5, kind))
    nearer, further = (
        opset8.strided_slice(corners, [0, first], [0, first + 2], [1, 1], [1, 0], [1, 0])
        for first in (0, 2)
    )
    has_extent = opset8.reduce_logical_and(
        opset8.greater(further, nearer), np.array([1], np.int64), keep_dims=True
    )
    moved = opset8.select(has_extent, rois, np.array([_NOWHERE], kind))
    node.input(1).replace_source_output(moved.output(0))


def _correct_nms(node: Any) -> None:
    """Keeps boxes whose overlap equals the threshold, as ONNX specifies; OpenVINO drops them.

    The next larger float32 is the threshold instead. OpenVINO takes numbers below `tiny` as 0.
    """
    threshold = node.input_value(3).get_node() if node.get_input_size() > 3 else None
    if threshold is not None and threshold.get_type_name() == "Constant":
        above = np.nextafter(threshold.get_data().astype(np.float32), np.float32(np.inf))
        above = np.maximum(above, np.finfo(np.float32).tiny)
        node.input(3).replace_source_output(opset8.constant(above).output(0))


_CORRECTIONS = {"NonMaxSuppression": _correct_nms, "ROIAlign": _correct_roi_align}
