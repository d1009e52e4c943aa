"""The neutral graph: standard ONNX of opset 11, and four operators where runtimes differ.

The four operators are registered as real ONNX operators of the domain `cascadeport`, so ONNX's
own checker validates a neutral graph and ONNX's own shape inference runs through it.

    DeformConv     x (1,C,H,W), weight (O,C/groups,kh,kw), offset (1,2*deform_groups*kh*kw,Ho,Wo)
                   ordered y0,x0,y1,x1,..., optional bias (O) -> y (1,O,Ho,Wo)
    RoiExtractor   P features (1,C,Hp,Wp), rois (N,5: picture,x0,y0,x1,y1) -> (N,C,h,w)
    ProposalNMS    boxes (N,4), scores (N), level ids (N) -> proposals (n,5) by descending score
    MultiClassNMS  boxes (N,4) or (N,4*C), scores (N,C) -> dets (n,5) by descending score, labels
                   (n)

Boxes are x0,y0,x1,y1 in pixels of the network's input. NMS removes a box whose overlap
(intersection over union) with a better one of its group is *greater* than the threshold;
a score must be *greater* than the score threshold. RoiExtractor pools a RoI of area A from
level floor(log2(sqrt(A) / finest_scale + 1e-6)), clipped to the existing levels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
from onnx import defs

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import EditableGraph, load
from cascadeport.graph.malformed import explained
from cascadeport.graph.schemas import optional, register, required, set_output, shape_of

DOMAIN = "cascadeport"
VERSION = 1
OPSET = 11
OPERATORS = ("DeformConv", "RoiExtractor", "ProposalNMS", "MultiClassNMS")


def load_neutral(path: Path) -> onnx.ModelProto:
    """Reads and checks a neutral graph.

    Raises:
        CascadeportError: The file is not ONNX, imports other opsets, has an operator that no
            lowering supports, or is not valid ONNX.
    """
    model = load(path)
    with explained("The neutral graph is malformed", str(path)):
        _check(model, path)
    return model


def _check(model: onnx.ModelProto, path: Path) -> None:
    imports = sorted((entry.domain, entry.version) for entry in model.opset_import)
    if imports != [("", OPSET), (DOMAIN, VERSION)]:
        found = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in imports)
        raise CascadeportError(
            f"A neutral graph imports ai.onnx {OPSET} and {DOMAIN} {VERSION}; this one imports "
            f"{found}.",
            where=str(path),
            next="Export the model again, with this release's exporter.",
        )
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx", DOMAIN):
            raise unknown_operator(node, path)
        if node.domain == DOMAIN and node.op_type not in OPERATORS:
            raise unknown_operator(node, path)
        if node.domain != DOMAIN and not defs.has(node.op_type, max_inclusive_version=OPSET):
            raise unknown_operator(node, path)
    try:
        onnx.checker.check_model(EditableGraph(model).skeleton())
    except onnx.checker.ValidationError as error:
        raise CascadeportError(
            f"The neutral graph is not valid ONNX: {str(error).splitlines()[0]}",
            where=str(path),
            next="Export the model again.",
        ) from error


def unknown_operator(node: onnx.NodeProto, path: Path) -> CascadeportError:
    """The error for an operator that no lowering supports."""
    domain = f"{node.domain}::" if node.domain else ""
    return CascadeportError(
        f"The graph uses {domain}{node.op_type}, an operator that no lowering supports.",
        where=f"{path}, node {node.name or node.output[0]}",
        next="Supported are deformable convolution v1, RoIAlign and NMS; change the config.",
    )


# --- the operators' schemas ---------------------------------------------------------------------


def _infer_deform_conv(context: Any) -> None:
    weight, offset = shape_of(context, 1), shape_of(context, 2)
    if weight and offset:
        set_output(context, 0, onnx.TensorProto.FLOAT, [offset[0], weight[0], *offset[2:]])


def _infer_roi_extractor(context: Any) -> None:
    feature, rois = shape_of(context, 0), shape_of(context, context.get_num_inputs() - 1)
    size = list(context.get_attribute("output_size").ints)
    channels = feature[1] if feature else None
    count = rois[0] if rois else None
    set_output(context, 0, onnx.TensorProto.FLOAT, [count, channels, *size])


def _infer_proposal_nms(context: Any) -> None:
    set_output(context, 0, onnx.TensorProto.FLOAT, ["proposals", 5])


def _infer_multi_class_nms(context: Any) -> None:
    set_output(context, 0, onnx.TensorProto.FLOAT, ["detections", 5])
    set_output(context, 1, onnx.TensorProto.INT64, ["detections"])


_FLOAT, _INT = "tensor(float)", "tensor(int64)"
register(
    "DeformConv",
    DOMAIN,
    _infer_deform_conv,
    [("x", _FLOAT), ("weight", _FLOAT), ("offset", _FLOAT), ("bias", _FLOAT, "Optional")],
    [("y", _FLOAT)],
    required(strides="INTS", pads="INTS", dilations="INTS")
    + optional(groups="INT", deform_groups="INT"),
)
register(
    "RoiExtractor",
    DOMAIN,
    _infer_roi_extractor,
    [("features_and_rois", _FLOAT, "Variadic")],
    [("crops", _FLOAT)],
    required(
        output_size="INTS",
        spatial_scales="FLOATS",
        finest_scale="INT",
        sampling_ratio="INT",
        aligned="INT",
    ),
)
register(
    "ProposalNMS",
    DOMAIN,
    _infer_proposal_nms,
    [("boxes", _FLOAT), ("scores", _FLOAT), ("levels", _INT)],
    [("proposals", _FLOAT)],
    required(iou_threshold="FLOAT", max_detections="INT"),
)
register(
    "MultiClassNMS",
    DOMAIN,
    _infer_multi_class_nms,
    [("boxes", _FLOAT), ("scores", _FLOAT)],
    [("dets", _FLOAT), ("labels", _INT)],
    required(score_threshold="FLOAT", iou_threshold="FLOAT", max_detections="INT"),
)
