"""Greedy non-maximum suppression in standard operators of fixed shapes.

Sorted by descending score, box j is suppressed when a kept box i < j of its group overlaps it. With
S[i,j] = 1 where i comes before j, overlaps it and has its group, keep = 1 - max_i(keep[i] * S[i,j])
has one solution, what greedy NMS keeps. Starting from all ones, each round settles at least one
more box of every chain of boxes that suppress each other; it is the fast NMS of YOLACT for one
round, and Cluster NMS for many (Zheng et al., arXiv 2005.03572, algorithm 1). The number of rounds
is fixed here, because a loop's length would depend on the picture.

`NonMaxSuppression` itself has a parser in CANN, but as many results as a picture has boxes: chips
without dynamic shapes refuse it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx

from cascadeport.backends.ascend.padded_nms import PaddedNms
from cascadeport.backends.ascend.standard_roi import SCALE
from cascadeport.graph.editing import Builder, attribute
from cascadeport.graph.rewriting import Shapes

#: In a longer chain of boxes that suppress each other, what is kept may differ from greedy NMS.
ROUNDS = 32
#: How many pairs of box and class take part in the last NMS: the best ones.
CANDIDATES = 4096
FLOAT, INT32, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT32, onnx.TensorProto.INT64


class StandardNms(PaddedNms):
    """The rules for NMS, in standard operators."""

    def proposal_nms(self, build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        """Rule for ProposalNMS."""
        boxes, scores, levels = node.input
        ids = build.graph.constants[levels]
        order = _best(build, scores, len(ids))
        groups = None
        if ids.any():
            groups = build.op("Gather", [build.const(ids, np.int32), order.position], axis=0)
        boxes = build.op("Gather", [boxes, order.position], axis=0)
        best, score, _ = _nms(build, node, boxes, order.value, groups, len(ids))
        self.keep_proposals(build, node, best, score)

    def multi_class_nms(self, build: Builder, node: onnx.NodeProto, known: Shapes) -> None:
        """Rule for MultiClassNMS: the candidates are pairs of a box and a class."""
        boxes, scores = node.input
        classes = known[scores][1]
        assert classes is not None
        own_boxes = known[boxes][1] != 4
        count = self.proposals * classes
        scores = build.reshape(build.op("Mul", [scores, self.real]), count)
        above = build.op("Greater", [scores, build.const(attribute(node, "score_threshold"))])
        scores = build.op("Mul", [scores, build.op("Cast", [above], to=FLOAT)])

        # Tables instead of a division: CANN divides integers as real numbers.
        pairs = np.arange(count)
        kept = min(count, CANDIDATES)
        order = _best(build, scores, kept)
        labels = build.const(pairs % classes, np.int32, stem="class_of_pair")
        groups = build.op("Gather", [labels, order.position], axis=0)
        if own_boxes:
            boxes, rows = build.reshape(boxes, count, 4), order.position
        else:
            table = build.const(pairs // classes, np.int32, stem="box_of_pair")
            rows = build.op("Gather", [table, order.position], axis=0)
        boxes = build.op("Gather", [boxes, rows], axis=0)
        best, score, index = _nms(build, node, boxes, order.value, groups, kept)
        build.op("Concat", [best, score], outputs=[node.output[0]], axis=1)
        limit = attribute(node, "max_detections")
        if kept < limit:
            groups = build.op(
                "Concat", [groups, build.const(np.zeros(limit - kept), np.int32)], axis=0
            )
        label = build.op("Gather", [groups, index], axis=0)
        build.op("Cast", [label], outputs=[node.output[1]], to=INT64)
        self.keep_shapes(node)


class _Best(NamedTuple):
    """The largest values, descending, and where they were (int32)."""

    value: str
    position: str


def _best(build: Builder, values: str, count: int) -> _Best:
    names = [build.graph.fresh(f"{build.prefix}/{stem}") for stem in ("best", "order")]
    build.op("TopK", [values, build.ints(count)], outputs=names, axis=0)
    # ONNX says int64 and CANN's kernel gives int32: arithmetic on it would mix the two.
    return _Best(names[0], build.op("Cast", [names[1]], to=INT32))


def _nms(
    build: Builder,
    node: onnx.NodeProto,
    boxes: str,
    scores: str,
    groups: str | None,
    count: int,
) -> tuple[str, str, str]:
    """Greedy NMS of boxes (N,4) by descending scores (N) within groups (N) int32.

    Returns:
        Boxes (n,4), scores (n,1) and rows of the input (n), n being `max_detections`; rows without
        a box are zeros of score 0.
    """
    limit = attribute(node, "max_detections")
    suppresses = _suppresses(build, boxes, groups, count, attribute(node, "iou_threshold"))
    keep = build.const(np.ones((1, count)), stem="keep")
    for _ in range(min(ROUNDS, count)):
        suppressed = build.op("MatMul", [keep, suppresses])
        keep = build.op("Cast", [build.op("Less", [suppressed, build.const(0.5)])], to=FLOAT)
    scores = build.op("Mul", [scores, build.reshape(keep, count)])
    if count < limit:
        missing = limit - count
        scores = build.op("Concat", [scores, build.const(np.zeros(missing))], axis=0)
        boxes = build.op("Concat", [boxes, build.const(np.zeros((missing, 4)))], axis=0)
    kept = _best(build, scores, limit)
    score = build.reshape(kept.value, limit, 1)
    real = build.op("Cast", [build.op("Greater", [score, build.const(0.0)])], to=FLOAT)
    best = build.op("Mul", [build.op("Gather", [boxes, kept.position], axis=0), real])
    return best, score, kept.position


def _suppresses(
    build: Builder, boxes: str, groups: str | None, count: int, threshold: float
) -> str:
    """1 where the box of the row would suppress that of the column, else 0: (N,N)."""
    small = build.op("Mul", [boxes, build.const(SCALE)])
    columns = [build.slice(small, 1, side, side + 1) for side in range(4)]
    rows = [build.reshape(side, 1, count) for side in columns]
    sides = []
    for axis in (0, 1):
        start = build.op("Max", [columns[axis], rows[axis]])
        end = build.op("Min", [columns[axis + 2], rows[axis + 2]])
        sides.append(build.op("Max", [build.op("Sub", [end, start]), build.const(0.0)]))
    inner = build.op("Mul", sides)
    area = build.op("Mul", [build.op("Sub", [columns[a + 2], columns[a]]) for a in (0, 1)])
    union = build.op("Add", [area, build.reshape(area, 1, count)])
    union = build.op("Sub", [union, inner])
    # Not a quotient: two boxes without area have no union to divide by.
    limit = build.op("Mul", [union, build.const(threshold)])
    found = build.op("Greater", [inner, limit])

    # Ranks above 2048 are not numbers of float16.
    rank = np.arange(count)
    first = build.const(rank.reshape(count, 1), np.int32, stem="rank")
    second = build.const(rank.reshape(1, count), np.int32, stem="rank")
    found = build.op("And", [found, build.op("Less", [first, second])])
    if groups is not None:
        own, other = build.reshape(groups, count, 1), build.reshape(groups, 1, count)
        found = build.op("And", [found, build.op("Equal", [own, other])])
    return build.op("Cast", [found], to=FLOAT)
