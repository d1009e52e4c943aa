"""NMS of proposals and of detections, against greedy NMS by hand."""

from __future__ import annotations

import numpy as np
import pytest
from cascadeport.graph import opset11 as standard
from cascadeport.graph import opset19 as onnxruntime
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.neutral import DOMAIN
from onnx import helper

from tests.helpers.graph_models import FLOAT, INT64, model_of, naive_nms, random_boxes, run

LOWERINGS = {"onnxruntime": onnxruntime.lower, "onnxruntime-1.9": standard.lower}


def detections(lowering: str, boxes: np.ndarray, scores: np.ndarray, limit: int) -> list:
    node = helper.make_node(
        "MultiClassNMS", ["boxes", "scores"], ["dets", "labels"], name="nms", domain=DOMAIN,
        score_threshold=0.05, iou_threshold=0.5, max_detections=limit,
    )  # fmt: skip
    model = model_of(
        [node],
        {"boxes": boxes.shape, "scores": scores.shape},
        {"dets": FLOAT, "labels": INT64},
        {},
    )
    return run(LOWERINGS[lowering](EditableGraph(model)), {"boxes": boxes, "scores": scores})


@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("own_boxes", [False, True])
@pytest.mark.parametrize("limit", [5, 1000])
def test_detections(lowering: str, own_boxes: bool, limit: int) -> None:
    draw = np.random.default_rng(0)
    count, classes = 60, 4
    boxes = random_boxes(draw, count * (classes if own_boxes else 1), 100).reshape(count, -1)
    scores = draw.uniform(0, 0.4, (count, classes)).astype("f4")
    dets, labels = detections(lowering, boxes, scores, limit)

    flat_boxes = np.broadcast_to(boxes.reshape(count, -1, 4), (count, classes, 4)).reshape(-1, 4)
    flat, groups = scores.reshape(-1), np.tile(np.arange(classes), count)
    valid = np.flatnonzero(flat > 0.05)
    kept = valid[naive_nms(flat_boxes[valid], flat[valid], groups[valid], 0.5, limit)]
    assert len(kept) > 5 or limit == 5
    np.testing.assert_array_equal(labels, groups[kept])
    np.testing.assert_array_equal(dets[:, 4], flat[kept])
    np.testing.assert_array_equal(dets[:, :4], flat_boxes[kept])


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_nothing_above_the_threshold(lowering: str) -> None:
    boxes = random_boxes(np.random.default_rng(0), 7, 50)
    # Exactly the threshold does not count: a score must be greater.
    dets, labels = detections(lowering, boxes, np.full((7, 3), 0.05, "f4"), 100)
    assert dets.shape == (0, 5)
    assert labels.shape == (0,)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_classes_do_not_suppress_each_other(lowering: str) -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], "f4")
    scores = np.array([[0.9, 0.1], [0.8, 0.2]], "f4")
    dets, labels = detections(lowering, boxes, scores, 100)
    assert labels.tolist() == [0, 1]
    np.testing.assert_allclose(dets[:, 4], [0.9, 0.2])


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_proposals(lowering: str) -> None:
    draw = np.random.default_rng(0)
    boxes, scores = random_boxes(draw, 80, 100), draw.uniform(size=80).astype("f4")
    levels = np.repeat(np.arange(4), 20)
    node = helper.make_node(
        "ProposalNMS", ["boxes", "scores", "levels"], ["proposals"], name="nms", domain=DOMAIN,
        iou_threshold=0.3, max_detections=30,
    )  # fmt: skip
    model = model_of(
        [node],
        {"boxes": boxes.shape, "scores": scores.shape},
        {"proposals": FLOAT},
        {"levels": levels},
    )
    (found,) = run(LOWERINGS[lowering](EditableGraph(model)), {"boxes": boxes, "scores": scores})
    kept = naive_nms(boxes, scores, levels, 0.3, 30)
    # The levels matter for this draw: one NMS over all of them keeps others.
    assert kept != naive_nms(boxes, scores, levels * 0, 0.3, 30)
    np.testing.assert_array_equal(found, np.column_stack([boxes[kept], scores[kept]]))
