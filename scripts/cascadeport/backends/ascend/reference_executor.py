"""Runs an Ascend graph on a CPU with the semantics of CANN's kernels, where no NPU is available.

The graph for `atc` is rewritten to standard operators of onnxruntime. Nothing runs on an NPU, so
nothing here measures one: results are called simulated and have no throughput. What differs
between releases of CANN is in arithmetic.py; docs/lowering.md names the source of each rule below.

    fp32        the operators' semantics, in float32
    fp16        what the operators themselves compute in float16: NMS and the products of
                deformable convolution (nearest to atc --precision_mode=must_keep_origin_dtype)
    force_fp16  in addition, every tensor rounded to float16 after each operator; sums inside an
                operator stay in float32 (atc's default, --precision_mode=force_fp16)
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from cascadeport.backends.ascend import onnx_plugins
from cascadeport.backends.ascend import operators as cann
from cascadeport.backends.ascend.arithmetic import Arithmetic
from cascadeport.backends.ascend.standard_executor import leave_thin, round_products
from cascadeport.base.errors import CascadeportError
from cascadeport.graph.deform import SamplingGrid, gather, multiply
from cascadeport.graph.editing import Builder, EditableGraph, attribute, load, save
from cascadeport.graph.opset19 import set_opset
from cascadeport.graph.passes import fold_batch_norms, integers
from cascadeport.graph.rewriting import Rule, Shapes, rewrite, static
from cascadeport.graph.roi import Level, between, crop, root_of_area

OPSET = 19
ARITHMETICS = ("fp32", "fp16", "force_fp16")
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
#: Operators whose results force_fp16 rounds; the others only move values.
ROUNDED = {
    *("Conv", "Gemm", "MatMul", "Add", "Sub", "Mul", "Div", "Exp", "Sqrt", "Sigmoid", "Softmax"),
    *("BatchNormalization", "AveragePool", "ReduceMean", "Pow", "Tanh", "RoiAlign"),
}
#: The semantics of the graph that was lowered: no kernel changes anything. For verification.
EXACT = Arithmetic(
    nms="fp32", iou_factor=1.0, whole_pixels=False, empty_boxes=True, thin_rois=False
)


#: What is computed otherwise than by PyTorch, each of which can be left out.
RULES = {
    "nms": "NMS in float16",
    "deformable": "deformable convolution multiplies in float16",
    "levels": "the size of a RoI, which chooses its pyramid level, is rounded to float16",
    "thin": "RoIs thinner than one cell of their pyramid level are widened to one cell",
    "tensors": "every other tensor is rounded to float16",
}


def executable(
    graph: Path,
    out: Path,
    arithmetic: str = "fp16",
    kernels: Arithmetic | None = None,
    *,
    rules: Collection[str] | None = None,
) -> Path:
    """Writes a graph for onnxruntime that computes what `graph` computes on an Ascend chip.

    Args:
        graph: An Ascend graph (the lowering `ascend` or `ascend-standard`).
        out: The file to write; its input and outputs, boxes (n,5) and labels (n), are those of
            `graph`.
        arithmetic: One of `ARITHMETICS`.
        kernels: What the kernels of a release compute; None: those of CANN 5.1. With `EXACT` and
            `fp32` the graph computes what the graph it was lowered from does.
        rules: Those of `RULES` that apply, of the arithmetic's and the kernels'; None: all.
    """
    if arithmetic not in ARITHMETICS:
        raise CascadeportError(
            f"Unknown arithmetic {arithmetic!r}.", next=f"Known: {', '.join(ARITHMETICS)}."
        )
    model = load(graph)
    onnx_plugins.check(model)
    for node in model.graph.node:
        if node.op_type in cann.OPERATORS:
            node.domain = cann.DOMAIN
    model.opset_import.append(helper.make_opsetid(cann.DOMAIN, cann.VERSION))
    lifted = EditableGraph(model).lifted(OPSET)
    fold_batch_norms(lifted)
    kept = rules_of(arithmetic) if rules is None else rules_of(arithmetic) & set(rules)
    rounding = _Rounding(kept, arithmetic, kernels or Arithmetic())
    rounding.replace_casts(lifted)
    operators: dict[str, Rule] = {
        "DeformableConv2D": rounding.deformable_conv_2d,
        "RoiExtractor": rounding.roi_extractor,
        "BatchMultiClassNMS": rounding.nms,
    }
    if not rounding.kernels.thin_rois:
        leave_thin(lifted)
    if rounding.everything:
        rounding.round_everything(lifted)
    elif rounding.half_products:
        round_products(lifted, rounding.round)
    rewrite(lifted, operators, domain=cann.DOMAIN)
    result = lifted.to_model()
    set_opset(result, OPSET)
    save(result, out)
    return out


def rules_of(arithmetic: str) -> set[str]:
    """The rules of an arithmetic: keys of `RULES`."""
    # What kernels do to boxes is no matter of precision, and belongs to NMS and thin RoIs.
    return {
        "fp32": {"nms", "thin"},
        "fp16": {"nms", "thin", "deformable", "levels"},
        "force_fp16": set(RULES),
    }[arithmetic]


class _Rounding:
    """The rewriting rules, with the roundings that apply: keys of `RULES`."""

    def __init__(self, rules: Collection[str], arithmetic: str, kernels: Arithmetic) -> None:
        self.half_nms = "nms" in rules and arithmetic != "fp32"
        self.half_products = "deformable" in rules
        self.half_levels = "levels" in rules
        self.everything = "tensors" in rules
        exact: dict[str, Any] = {}
        if "nms" not in rules:
            names = ("nms", "iou_factor", "whole_pixels", "empty_boxes")
            exact = {name: getattr(EXACT, name) for name in names}
        if "thin" not in rules:
            exact["thin_rois"] = EXACT.thin_rois
        self.kernels = replace(kernels, **exact)

    def round(self, build: Builder, value: str) -> str:
        """`value` rounded to float16."""
        return build.op("Cast", [build.op("Cast", [value], to=FLOAT16)], to=FLOAT)

    def replace_casts(self, graph: EditableGraph) -> None:
        """Replaces casts to float16, which only NMS has, by rounding: the graph stays float32."""
        nodes = []
        for node in graph.nodes:
            if node.op_type == "Cast" and attribute(node, "to") == FLOAT16:
                build = Builder(graph, node.name)
                value = node.input[0]
                value = self.round(build, value) if self.half_nms else value
                build.op("Identity", [value], outputs=[node.output[0]])
                nodes.extend(build.nodes)
            else:
                nodes.append(node)
        graph.nodes = nodes

    def deformable_conv_2d(self, build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        """atc splits it: samples in float32 (DeformableOffsets), then a Conv2D in float16."""
        attributes = onnx_plugins.read_deformable_conv_2d(node)
        x, weight_name, offsets, *bias = node.input
        weight = build.graph.constants[weight_name]
        _, _, height, width = static(known, offsets, node)
        half = attributes.deformable_groups * int(np.prod(weight.shape[2:]))
        if self.half_products:
            x, offsets = self.round(build, x), self.round(build, offsets)
            weight = weight.astype(np.float16).astype(np.float32)
        # x of sample k is channel k, y is channel half + k, its mask 2 * half + k.
        order = np.stack([half + np.arange(half), np.arange(half)], axis=1).reshape(-1)
        moved = build.op("Gather", [offsets, build.ints(*order.tolist())], axis=1)
        mask = build.slice(offsets, 1, 2 * half, 3 * half)
        top, _, left, _ = attributes.pads
        if not self.half_products:
            inputs = [x, build.const(weight, stem="weight"), moved, *(bias or [""]), mask]
            build.op(
                "DeformConv",
                inputs,
                outputs=[node.output[0]],
                strides=attributes.strides,
                pads=[top, left, attributes.pads[1], attributes.pads[3]],
                dilations=attributes.dilations,
                group=attributes.groups,
                offset_group=attributes.deformable_groups,
                kernel_shape=list(weight.shape[2:]),
            )
            return
        if attributes.groups != 1:
            raise CascadeportError(
                "The reference executor supports deformable convolution of one group only.",
                where=f"node {node.name}, groups = {attributes.groups}",
            )
        grid = SamplingGrid(
            shape=static(known, node.input[0], node),
            kernel=weight.shape[2:],
            strides=attributes.strides,
            pads=(top, left),
            dilations=attributes.dilations,
            out=(height, width),
            groups=attributes.deformable_groups,
        )
        columns = self.round(build, gather(build, grid, x, moved, mask))
        result = self.round(build, multiply(build, grid, columns, weight, bias[0] if bias else ""))
        build.op("Identity", [result], outputs=[node.output[0]])

    def roi_extractor(self, build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        """Levels by strict comparison; RoIs are widened to a cell, aligned or not, if requested."""
        attributes = onnx_plugins.read_roi_extractor(node)
        *features, rois = node.input
        if attributes.roi_scale_factor:
            raise CascadeportError(
                "The reference executor supports RoiExtractor without scaling of RoIs only.",
                where=f"node {node.name}, roi_scale_factor = {attributes.roi_scale_factor}",
            )
        if self.everything:
            rois = self.round(build, rois)

        pyramid = [
            Level(
                feature=feature,
                channels=static(known, feature, node)[1],
                scale=scale,
                size=(attributes.pooled_height, attributes.pooled_width),
                sampling_ratio=max(attributes.sample_num, 0),
                mode="output_half_pixel",
                shift=0.5 if attributes.aligned else 0.0,
                # Without alignment mmcv's own kernel widens them too.
                keep_thin=attributes.aligned and not self.kernels.thin_rois,
            )
            for feature, scale in zip(features, attributes.spatial_scale, strict=True)
        ]
        boxes = build.slice(rois, 1, 1, 5)
        chosen = self.levels(build, boxes, len(features), attributes.finest_scale)
        if not self.everything:
            crop(build, pyramid, rois, chosen, node.output[0])
            return
        exact = build.graph.fresh(f"{node.output[0]}/unrounded")
        crop(build, pyramid, rois, chosen, exact)
        build.op("Identity", [self.round(build, exact)], outputs=[node.output[0]])

    def levels(self, build: Builder, boxes: str, count: int, finest_scale: int) -> list[str]:
        """Level k takes boxes with 2**k * finest < sqrt(area) <= 2**(k+1) * finest.

        mmdet puts a box exactly between two levels into the coarser one; the kernel, which
        rounds sqrt(area) to float16 and compares with "greater", into the finer one.
        """
        scale = root_of_area(build, boxes)
        scale = self.round(build, scale) if self.half_levels else scale
        bounds = [build.const(float(finest_scale * 2**level)) for level in range(1, count)]
        above = [build.op("Greater", [scale, bound]) for bound in bounds]
        return between(build, scale, above)

    def nms(self, build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        """Greedy NMS of each class separately, then the best of all classes.

        In 5.1 the kernel rounds boxes to float16 twice: scaled to a tenth, and with the far corner
        moved in by one and out again (its areas count whole pixels, both corners included). Its
        output is the rounded boxes, times ten. Overlaps are computed in float32 here.
        """
        attributes = onnx_plugins.read_batch_multi_class_nms(node)
        boxes, scores = node.input
        _, count, classes = static(known, scores, node)
        sides = static(known, boxes, node)[2]
        if sides not in (1, classes):
            raise CascadeportError(
                f"BatchMultiClassNMS has boxes for {sides} classes and scores for {classes}.",
                where=f"node {node.name}",
            )
        rounded = self.half_nms and self.kernels.nms == "fp16"
        if rounded:
            boxes = self.scaled(build, boxes)
        if not self.kernels.empty_boxes:
            scores = _without_empty(build, boxes, scores)
        # One NMS batch per class: boxes need no offsets per class, hence no further rounding.
        boxes = build.op("Transpose", [boxes], perm=[0, 2, 1, 3])
        boxes = build.op("Expand", [boxes, build.ints(1, classes, count, 4)])
        boxes = build.reshape(boxes, classes, count, 4)
        scores = build.op("Transpose", [scores], perm=[0, 2, 1])
        kept = build.op(
            "NonMaxSuppression",
            [
                boxes,
                build.reshape(scores, classes, 1, count),
                build.ints(attributes.max_size_per_class),
                build.const([attributes.iou_threshold]),
                build.const([attributes.score_threshold]),
            ],
        )
        label = build.reshape(build.slice(kept, 1, 0, 1), -1)
        index = build.reshape(build.slice(kept, 1, 2, 3), -1)
        index = build.op("Add", [build.op("Mul", [label, build.const(count, np.int64)]), index])
        total = attributes.max_total_size
        chosen = build.op("Gather", [build.reshape(scores, -1), index], axis=0)
        chosen = build.op("Concat", [chosen, build.const(np.zeros(total))], axis=0)
        names = [build.graph.fresh(f"{build.prefix}/{stem}") for stem in ("best", "order")]
        build.op("TopK", [chosen, build.ints(total)], outputs=names, axis=0)

        boxes = build.op("Gather", [build.reshape(boxes, -1, 4), index], axis=0)
        if rounded and self.kernels.iou_factor != 1:
            factor = build.const(1 / self.kernels.iou_factor)
            boxes = self.round(build, build.op("Mul", [boxes, factor]))
        boxes = build.op("Concat", [boxes, build.const(np.zeros((total, 4)))], axis=0)
        boxes = build.op("Gather", [boxes, names[1]], axis=0)
        labels = build.op("Cast", [label], to=FLOAT)
        labels = build.op("Concat", [labels, build.const(np.zeros(total))], axis=0)
        labels = build.op("Gather", [labels, names[1]], axis=0)
        results = [(boxes, (1, total, 4)), (names[0], (1, total)), (labels, (1, total))]
        for name, (value, shape) in zip(node.output, results, strict=False):
            build.reshape(value, *shape, output=name)

    def scaled(self, build: Builder, boxes: str) -> str:
        """Boxes (...,4) as the NMS kernel has them: areas must not exceed float16's range."""
        boxes = self.round(build, boxes)
        if self.kernels.iou_factor != 1:
            factor = build.const(np.float32(np.float16(self.kernels.iou_factor)))
            boxes = self.round(build, build.op("Mul", [boxes, factor]))
        if not self.kernels.whole_pixels:
            return boxes
        near, far = build.slice(boxes, 3, 0, 2), build.slice(boxes, 3, 2, 4)
        far = self.round(build, build.op("Sub", [far, build.const(1.0)]))
        far = self.round(build, build.op("Add", [far, build.const(1.0)]))
        return build.op("Concat", [near, far], axis=3)

    def round_everything(self, graph: EditableGraph) -> None:
        """Rounds input, constants and the results of operators in `ROUNDED`, unless integers."""
        for name in graph.constants.names():
            array = graph.constants[name]
            if array.dtype == np.float32:
                with np.errstate(over="ignore"):
                    graph.constants[name] = array.astype(np.float16).astype(np.float32)
        whole = integers(graph)
        nodes: list[onnx.NodeProto] = []
        renamed: dict[str, str] = {}
        for value in graph.model.graph.input:
            if value.type.tensor_type.elem_type == FLOAT:
                build = Builder(graph, value.name)
                renamed[value.name] = self.round(build, value.name)
                nodes.extend(build.nodes)
        for node in graph.nodes:
            inputs = [renamed.get(name, name) for name in node.input]
            del node.input[:]
            node.input.extend(inputs)
            nodes.append(node)
            if node.op_type in ROUNDED and not node.domain and node.output[0] not in whole:
                build = Builder(graph, node.name)
                name = node.output[0]
                node.output[0] = graph.fresh(f"{name}/unrounded")
                rounded = build.op("Cast", [node.output[0]], to=FLOAT16)
                build.op("Cast", [rounded], outputs=[name], to=FLOAT)
                nodes.extend(build.nodes)
        graph.nodes = nodes


def _without_empty(build: Builder, boxes: str, scores: str) -> str:
    """Scores (1,N,C), 0 where the box (1,N,1 or C,4) has no area."""
    near, far = build.slice(boxes, 3, 0, 2), build.slice(boxes, 3, 2, 4)
    sides = build.op("Cast", [build.op("Greater", [far, near])], to=FLOAT)
    smallest = build.op("ReduceMin", [sides, build.ints(3)], keepdims=0)
    return build.op("Mul", [scores, smallest])
