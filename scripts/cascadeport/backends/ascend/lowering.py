"""Lowering for Ascend: opset 11 without a domain, and three operators of CANN.

    DeformableConv2D    x, weight, offsets (1,3*dg*kh*kw,Ho,Wo): all x, all y, all masks -> y
    RoiExtractor        features, rois -> crops
    BatchMultiClassNMS  boxes (1,N,C,4), scores (1,N,C), float16 -> boxes (1,n,4), scores (1,n),
                        classes (1,n), count (1), float16

What CANN's ONNX plug-ins read from these nodes is in onnx_plugins.py, and what its kernels do in
reference_executor.py; docs/lowering.md names the sources. `atc` needs one opset import, no domain
and fixed shapes; it handles names of letters, digits and underscores reliably.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx

from cascadeport.backends.ascend.onnx_plugins import check
from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import Array, Builder, EditableGraph, attribute
from cascadeport.graph.lowering import Lowering, LoweringRequest, refuse_precision
from cascadeport.graph.opset19 import set_opset
from cascadeport.graph.passes import fold_constants
from cascadeport.graph.rewriting import Rule, Shapes, rewrite, static

OPSET = 11
#: The vendor guide's number of proposals, with which the published figures were measured.
PROPOSALS = 500
FLOAT, FLOAT16, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64

#: What differs from PyTorch in every Ascend graph, for the comparison table.
CHANGES = [
    "NMS in float16: boxes are rounded to 0.3 to 0.6 px in a frame of 1216 px",
    "deformable convolution multiplies in float16",
    "RoIs thinner than one cell of their pyramid level are widened to one cell",
]


@dataclass(frozen=True)
class AtcArguments:
    """The arguments of `atc` that depend on the graph.

    Attributes:
        input_shape: For `--input_shape`.
        out_nodes: For `--out_nodes`, boxes first, as `node:output`.
        aipp: Content of the file for `--insert_op_conf`; None for float32 input.
    """

    input_shape: str
    out_nodes: str
    aipp: str | None = None


class Ascend(Lowering):
    """CANN's three operators; its NMS takes float16 only."""

    name = "ascend"
    proposals = PROPOSALS
    across_levels = True

    def check(self, request: LoweringRequest) -> None:
        """See `Lowering`."""
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
        return rewritten(graph)

    def facts(self, model: onnx.ModelProto, request: LoweringRequest) -> Mapping[str, Any]:
        """The arguments of `atc` that depend on the graph: see `AtcArguments`."""
        text = None
        if request.dtype == "uint8" and request.mean is not None and request.std is not None:
            sides = [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim]
            text = aipp(sides[2], sides[3], list(request.mean), list(request.std))
        return {"atc": asdict(describe(model, text))}


def rewritten(graph: EditableGraph) -> onnx.ModelProto:
    """The neutral graph in opset 11 and CANN's operators, with fixed shapes throughout.

    Batch norms stay: atc splits a DeformableConv2D into DeformableOffsets and Conv2D and folds
    batch norms into convolutions itself.
    """
    fold_constants(graph)
    padding = _Padding()
    rules: dict[str, Rule] = {
        "DeformConv": deformable_conv_2d,
        "RoiExtractor": roi_extractor,
        "ProposalNMS": padding.proposal_nms,
        "MultiClassNMS": padding.multi_class_nms,
    }
    rewrite(graph, rules)
    _plain_names(graph)
    model = graph.to_model()
    set_opset(model, OPSET)
    for value, shape in zip(model.graph.output, padding.shapes, strict=True):
        kind = value.type.tensor_type.elem_type
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, kind, shape))
    check(model)
    return model


def describe(model: onnx.ModelProto, aipp: str | None = None) -> AtcArguments:
    """The arguments of `atc` for a graph."""
    value = model.graph.input[0]
    sides = [side.dim_value for side in value.type.tensor_type.shape.dim]
    producers = {
        name: f"{node.name}:{index}"
        for node in model.graph.node
        for index, name in enumerate(node.output)
    }
    return AtcArguments(
        input_shape=f"{value.name}:{','.join(map(str, sides))}",
        out_nodes=";".join(producers[output.name] for output in model.graph.output),
        aipp=aipp,
    )


def aipp(height: int, width: int, mean: list[float], std: list[float]) -> str:
    """The AIPP file for uint8 (1,H,W,3) input in the network's channel order.

    AIPP computes (pixel - mean_chn - min_chn) * var_reci_chn; mean_chn is an integer, so min_chn
    holds all of the mean.
    """
    lines = [
        "aipp_mode: static",
        "input_format: RGB888_U8",
        f"src_image_size_w: {width}",
        f"src_image_size_h: {height}",
        "crop: false",
        "csc_switch: false",
        "rbuv_swap_switch: false",
    ]
    lines += [f"min_chn_{channel}: {value!r}" for channel, value in enumerate(mean)]
    lines += [f"var_reci_chn_{channel}: {1 / value!r}" for channel, value in enumerate(std)]
    return "aipp_op {\n" + "".join(f"    {line}\n" for line in lines) + "}\n"


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


class _Padding:
    """The rules for NMS, whose results have a fixed length here, padded with rows of score 0.

    A padding row among the proposals must not become a detection: its class scores are set to 0.
    """

    def __init__(self) -> None:
        self.real = ""
        self.proposals = 0
        self.shapes: list[list[int]] = []

    def proposal_nms(self, build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        """Rule: one class, or one class for each pyramid level."""
        boxes, scores, levels = node.input
        ids = build.graph.constants[levels]
        self.proposals = attribute(node, "max_detections")
        column = build.reshape(scores, -1, 1)
        if ids.any():
            mask = np.equal.outer(ids, np.unique(ids)).astype(np.float32)
            column = build.op("Mul", [column, build.const(mask, stem="levels")])
        classes = len(np.unique(ids))
        best, score, _ = _nms(build, node, boxes, column, (len(ids), classes), 0.0)
        positive = build.op("Greater", [score, build.const(0.0)])
        self.real = build.op("Cast", [positive], to=FLOAT)
        build.op("Concat", [best, score], outputs=[node.output[0]], axis=1)

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
        count = attribute(node, "max_detections")
        self.shapes = [[count, 5], [count]]


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


def _plain_names(graph: EditableGraph) -> None:
    """Renames nodes and inner values to letters, digits and underscores."""
    kept = {value.name for value in graph.model.graph.input} | set(graph.outputs)
    given: dict[str, str] = {}
    taken = set(kept)

    def plain(name: str) -> str:
        if not name or name in kept:
            return name
        if name not in given:
            stem = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_") or "v"
            fresh, number = stem, 1
            while fresh in taken:
                fresh, number = f"{stem}_{number}", number + 1
            taken.add(fresh)
            given[name] = fresh
        return given[name]

    for node in graph.nodes:
        inputs, outputs = [plain(n) for n in node.input], [plain(n) for n in node.output]
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.extend(outputs)
    graph.constants.rename(given)
    names: set[str] = set()
    for node in graph.nodes:
        stem = re.sub(r"[^A-Za-z0-9_]+", "_", node.name).strip("_") or node.op_type
        name, number = stem, 1
        while name in names:
            name, number = f"{stem}_{number}", number + 1
        names.add(name)
        node.name = name
