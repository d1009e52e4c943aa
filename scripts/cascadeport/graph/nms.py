"""Non-maximum suppression in standard operators, as mmcv computes it.

mmcv keeps the groups (pyramid levels, classes) apart by moving each of them beyond the largest
coordinate of the others and runs one plain NMS (mmcv/ops/nms.py, batched_nms). This does the
same, with the same rounding of the moved coordinates, because that rounding decides pairs of
boxes whose overlap is near the threshold. One NMS over all groups also stops after the requested
number of boxes, where an NMS per class would first find all boxes of every class.

The largest coordinate is taken over boxes above the score threshold, others as 0, so that there
is a largest one even when nothing is found: onnxruntime 1.9 has no maximum of an empty tensor.
"""

from __future__ import annotations

import numpy as np
import onnx

from cascadeport.graph.editing import Builder, attribute
from cascadeport.graph.rewriting import Shapes, static


def proposal_nms(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
    """Rule for ProposalNMS."""
    boxes, scores, levels = node.input
    groups = build.reshape(build.op("Cast", [levels], to=onnx.TensorProto.FLOAT), -1, 1)
    kept = _nms(build, node, boxes, boxes, groups, scores)
    best = build.op("Gather", [boxes, kept], axis=0)
    score = build.reshape(build.op("Gather", [scores, kept], axis=0), -1, 1)
    build.op("Concat", [best, score], outputs=[node.output[0]], axis=1)


def multi_class_nms(build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
    """Rule for MultiClassNMS: the candidates are all pairs of a box and a class."""
    boxes, scores = node.input
    classes = static(known, scores, node)[-1] if None not in known[scores] else known[scores][1]
    assert classes is not None
    own_boxes = known[boxes][1] != 4
    threshold = attribute(node, "score_threshold")

    rows = build.reshape(boxes, -1, classes if own_boxes else 1, 4)
    best = scores if own_boxes else build.op("ReduceMax", [scores], axes=[1], keepdims=1)
    counts = build.op("Greater", [best, build.const(threshold)])
    counts = build.reshape(counts, -1, classes if own_boxes else 1, 1)
    counting = build.op("Where", [counts, rows, build.const(0.0)])
    groups = build.const(np.arange(classes).reshape(classes, 1))

    flat = build.reshape(scores, -1)
    kept = _nms(build, node, rows, counting, groups, flat, threshold)
    number = build.const(classes, np.int64)
    build.op("Mod", [kept, number], outputs=[node.output[1]])
    if own_boxes:
        best = build.op("Gather", [build.reshape(boxes, -1, 4), kept], axis=0)
    else:
        best = build.op("Gather", [boxes, build.op("Div", [kept, number])], axis=0)
    score = build.reshape(build.op("Gather", [flat, kept], axis=0), -1, 1)
    build.op("Concat", [best, score], outputs=[node.output[0]], axis=1)


def _nms(
    build: Builder,
    node: onnx.NodeProto,
    boxes: str,
    counting: str,
    groups: str,
    scores: str,
    score_threshold: float | None = None,
) -> str:
    """Indices of the candidates that remain, by descending score.

    `boxes` (..., 4) and `groups` broadcast to the candidates in the order of `scores`;
    `counting` are the boxes whose largest coordinate keeps the groups apart.
    """
    largest = build.op("ReduceMax", [counting], keepdims=0)
    step = build.op("Add", [largest, build.const(1.0)])
    moved = build.op("Add", [boxes, build.op("Mul", [groups, step])])
    inputs = [
        build.reshape(moved, 1, -1, 4),
        build.reshape(scores, 1, 1, -1),
        build.ints(attribute(node, "max_detections")),
        build.const([attribute(node, "iou_threshold")]),
    ]
    if score_threshold is not None:
        inputs.append(build.const([score_threshold]))
    # NonMaxSuppression returns (batch, class, candidate) by descending score.
    return build.reshape(build.slice(build.op("NonMaxSuppression", inputs), 1, 2, 3), -1)
