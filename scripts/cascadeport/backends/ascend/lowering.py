"""Lowering for Ascend: opset 11 without a domain, and three operators of CANN.

    DeformableConv2D    x, weight, offsets (1,3*dg*kh*kw,Ho,Wo): all x, all y, all masks -> y
    RoiExtractor        features, rois -> crops
    BatchMultiClassNMS  boxes (1,N,C,4), scores (1,N,C), float16 -> boxes (1,n,4), scores (1,n),
                        classes (1,n), count (1), float16

What CANN's ONNX plug-ins read from these nodes is in onnx_plugins.py, and what its kernels do in
reference_executor.py; docs/lowering.md names the sources. What `atc` needs of every graph is in
atc_graph.py. standard_lowering.py does without the three operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import onnx

from cascadeport.backends.ascend.atc_graph import aipp, describe, finish
from cascadeport.backends.ascend.gears import check_gears
from cascadeport.backends.ascend.padded_nms import PaddedNms
from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Array, Builder, EditableGraph, attribute
from cascadeport.graph.lowering import Lowering, LoweringRequest, refuse_precision
from cascadeport.graph.passes import fold_constants
from cascadeport.graph.rewriting import Rule, Shapes, rewrite, static

#: The vendor guide's number of proposals, with which the published figures were measured.
PROPOSALS = 500
FLOAT, FLOAT16, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64

#: What differs from PyTorch in every Ascend graph, for the comparison table.
CHANGES = [
    "NMS in float16: boxes are rounded to 0.3 to 0.6 px in a frame of 1216 px",
    "deformable convolution multiplies in float16",
    "RoIs thinner than one cell of their pyramid level are widened to one cell",
]


class Ascend(Lowering):
    """CANN's three operators; its NMS takes float16 only."""

    name = "ascend"
    proposals = PROPOSALS
    across_levels = True
    gears = True

    def check(self, request: LoweringRequest) -> None:
        """See `Lowering`."""
        if request.gears and request.dtype != "float32":
            raise CascadeportError(
                "A static AIPP configuration has one size, and gears have several.",
                where="input.dtype = uint8",
                next="Use float32, or a network for each shape (gears = false in targets.toml).",
            )
        if request.half_nms is False:
            raise CascadeportError(
                "NMS in float32 was requested, but CANN's BatchMultiClassNMS takes float16 only.",
                where="--nms-precision float32",
                next="Leave --nms-precision out on Ascend targets.",
            )
        remedy = "On Ascend it is atc's: precision_mode in the target's row of targets.toml."
        refuse_precision(self, request, remedy)

    def round_before_nms(self, graph: EditableGraph) -> list[str]:
        """Nothing to do: CANN's operator is float16 anyway."""
        return []

    def normalise(self, graph: EditableGraph, mean: Sequence[float], std: Sequence[float]) -> None:
        """Nothing to do: AIPP normalises before the graph."""

    def rewrite(
        self, graph: EditableGraph, request: LoweringRequest, changes: list[str]
    ) -> onnx.ModelProto:
        """See `Lowering`."""
        changes.extend(CHANGES)
        model = rewritten(graph)
        check_gears(model, request.gears)
        return model

    def facts(self, model: onnx.ModelProto, request: LoweringRequest) -> Mapping[str, Any]:
        """The arguments of `atc` that depend on the graph: see `AtcArguments`."""
        text = None
        if request.dtype == "uint8" and request.mean is not None and request.std is not None:
            sides = [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
            text = aipp(sides[2], sides[3], list(request.mean), list(request.std))
        return {"atc": asdict(describe(model, text, request.gears))}


def rewritten(graph: EditableGraph) -> onnx.ModelProto:
    """The neutral graph in opset 11 and CANN's operators, with fixed shapes throughout.

    Batch norms stay: atc splits a DeformableConv2D into DeformableOffsets and Conv2D and folds
    batch norms into convolutions itself.
    """
    fold_constants(graph)
    nms = _BatchNms()
    rules: dict[str, Rule] = {
        "DeformConv": deformable_conv_2d,
        "RoiExtractor": roi_extractor,
        "ProposalNMS": nms.proposal_nms,
        "MultiClassNMS": nms.multi_class_nms,
    }
    rewrite(graph, rules)
    return finish(graph, nms.shapes)


# --- rules ----------------------------------------------------------------------------------------


def deformable_conv_2d(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
    """Rule: offsets y0,x0,y1,x1,... become all x, all y and a mask of ones.

    A convolution computes the offsets. Permuting its filters costs nothing at run time, and
    filters of zeros with a bias of one produce the mask.
    """
    x, weight, offset, *bias = node.input
    groups = attribute(node, "deform_groups", 1)
    kernel = int(np.prod(build.graph.constants[weight].shape[2:]))
    pads = attribute(node, "pads")
    if len(set(pads)) != 1:
        raise CascadeportError(
            "CANN's ONNX plug-in for DeformableConv2D takes one padding for all four sides.",
            where=f"node {node.name}, pads = {pads}",
        )
    x_first = np.arange(groups * kernel) * 2 + 1
    order = np.concatenate([x_first, x_first - 1])
    source = _lone_convolution(build.graph, offset)
    if source is not None:
        filters = build.graph.constants[source.input[1]]
        shift = np.zeros(len(filters), np.float32)
        if len(source.input) > 2:
            shift = build.graph.constants[source.input[2]]
        inputs = [
            source.input[0],
            build.const(_extended(filters[order], groups * kernel, 0), stem="offset_filters"),
            build.const(_extended(shift[order], groups * kernel, 1), stem="offset_bias"),
        ]
        del source.input[:]
        source.input.extend(inputs)
    else:
        _, _, height, width = static(known, offset, node)
        moved = build.op("Gather", [offset, build.ints(*order.tolist())], axis=1)
        ones = build.const(np.ones((1, groups * kernel, height, width)), stem="mask")
        offset = build.op("Concat", [moved, ones], axis=1)
    build.op(
        "DeformableConv2D",
        [x, weight, offset, *bias],
        outputs=[node.output[0]],
        strides=attribute(node, "strides"),
        pads=list(pads[:2]),
        dilations=attribute(node, "dilations"),
        groups=attribute(node, "groups", 1),
        deformable_groups=groups,
        data_format="NCHW",
        modulated=1,
    )


def roi_extractor(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
    """Rule: the same operator with CANN's attribute names and types."""
    height, width = attribute(node, "output_size")
    if height != width:
        raise CascadeportError(
            "CANN's RoiExtractor makes square crops only.",
            where=f"node {node.name}, output_size = {height} x {width}",
        )
    build.op(
        "RoiExtractor",
        list(node.input),
        outputs=[node.output[0]],
        finest_scale=attribute(node, "finest_scale"),
        roi_scale_factor=0.0,
        spatial_scale=list(attribute(node, "spatial_scales")),
        pooled_height=height,
        pooled_width=width,
        sample_num=attribute(node, "sampling_ratio"),
        pool_mode="avg",
        aligned=attribute(node, "aligned"),
    )


class _BatchNms(PaddedNms):
    """The rules for NMS, by CANN's own operator."""

    def proposal_nms(self, build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        """Rule: one class, or one class for each pyramid level."""
        boxes, scores, levels = node.input
        ids = build.graph.constants[levels]
        column = build.reshape(scores, -1, 1)
        if ids.any():
            mask = np.equal.outer(ids, np.unique(ids)).astype(np.float32)
            column = build.op("Mul", [column, build.const(mask, stem="levels")])
        classes = len(np.unique(ids))
        best, score, _ = _nms(build, node, boxes, column, (len(ids), classes), 0.0)
        self.keep_proposals(build, node, best, score)

    def multi_class_nms(self, build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        """Rule: boxes are repeated for every class, as the operator requires."""
        boxes, scores = node.input
        classes = known[scores][1]
        assert classes is not None
        scores = build.op("Mul", [scores, self.real])
        threshold = attribute(node, "score_threshold")
        shape = (self.proposals, classes)
        best, score, label = _nms(build, node, boxes, scores, shape, threshold)
        build.op("Concat", [best, score], outputs=[node.output[0]], axis=1)
        build.op("Cast", [label], outputs=[node.output[1]], to=INT64)
        self.keep_shapes(node)


def _nms(
    build: Builder,
    node: onnx.NodeProto,
    boxes: str,
    scores: str,
    shape: tuple[int, int],
    score_threshold: float,
) -> tuple[str, str, str]:
    """BatchMultiClassNMS of boxes (N,4) or (N,4*C) and scores (N,C), `shape` being (N,C).

    Returns boxes (n,4), scores (n,1) and classes (n), float32, padded with rows of zeros.
    """
    count, classes = shape
    limit = attribute(node, "max_detections")
    # atc requires the shape of the expansion to be constant.
    boxes = build.reshape(boxes, 1, count, -1, 4)
    boxes = build.op("Expand", [boxes, build.ints(1, count, classes, 4)]) if classes > 1 else boxes
    inputs = [
        build.op("Cast", [boxes], to=FLOAT16),
        build.op("Cast", [build.reshape(scores, 1, count, classes)], to=FLOAT16),
    ]
    names = [build.graph.fresh(f"{build.prefix}/nmsed_{name}") for name in _NMSED]
    build.op(
        "BatchMultiClassNMS",
        inputs,
        outputs=names,
        score_threshold=score_threshold,
        iou_threshold=attribute(node, "iou_threshold"),
        max_size_per_class=limit,
        max_total_size=limit,
    )
    results = []
    for name, sides in zip(names, ((limit, 4), (limit, 1), (limit,)), strict=False):
        results.append(build.reshape(build.op("Cast", [name], to=FLOAT), *sides))
    return results[0], results[1], results[2]


_NMSED = ("boxes", "scores", "classes", "num")


def _extended(array: Array, count: int, value: float) -> Array:
    filling = np.full((count, *array.shape[1:]), value, dtype=array.dtype)
    return np.concatenate([array, filling])


def _lone_convolution(graph: EditableGraph, name: str) -> onnx.NodeProto | None:
    """The convolution with constant filters that computes `name` for a single reader, if any."""
    source = graph.producers().get(name)
    if source is None or source.op_type != "Conv" or len(graph.consumers()[name]) > 1:
        return None
    if name in graph.outputs or not all(value in graph.constants for value in source.input[1:]):
        return None
    return source
