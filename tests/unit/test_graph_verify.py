"""Comparison of detections: what may differ and what may not."""

from __future__ import annotations

import numpy as np
import pytest
from cascadeport.graph.verify import BOX_TOLERANCE, ORDER_TOLERANCE, SCORE_TOLERANCE, compare

Detections = tuple[np.ndarray, np.ndarray]


def detections() -> Detections:
    boxes = np.array(
        [[0, 0, 10, 10, 0.9], [5, 5, 20, 20, 0.8], [30, 30, 40, 45, 0.5], [1, 2, 3, 4, 0.1]], "f4"
    )
    return boxes, np.array([3, 1, 1, 0])


def test_the_same_passes() -> None:
    found = compare("x", False, detections(), detections())
    assert found.passed
    assert (found.in_order, found.swapped, found.box_error) == (4, 0, 0.0)


def test_padding_is_not_a_detection() -> None:
    boxes, labels = detections()
    padded = np.vstack([boxes, np.zeros((6, 5), "f4")]), np.concatenate([labels, np.zeros(6, int)])
    assert compare("x", False, (boxes, labels), padded).passed


def test_none_against_none_passes_and_none_against_some_does_not() -> None:
    none = np.zeros((0, 5), "f4"), np.zeros(0, int)
    assert compare("x", False, none, none).passed
    assert not compare("x", False, none, detections()).passed
    assert not compare("x", False, detections(), none).passed


@pytest.mark.parametrize(
    ("row", "column", "change", "passes"),
    [
        (1, 2, 0.9 * BOX_TOLERANCE, True),
        (1, 2, 1.2 * BOX_TOLERANCE, False),
        (2, 4, 0.9 * SCORE_TOLERANCE, True),
        (2, 4, 1.2 * SCORE_TOLERANCE, False),
        (0, 0, np.nan, False),
    ],
)
def test_thresholds(row: int, column: int, change: float, passes: bool) -> None:
    boxes, labels = detections()
    boxes[row, column] += change
    assert compare("x", False, detections(), (boxes, labels)).passed == passes


def test_another_label_does_not_pass() -> None:
    boxes, labels = detections()
    labels[3] = 2
    found = compare("x", False, detections(), (boxes, labels))
    assert not found.passed
    assert found.in_order == 3


def test_swaps_are_allowed_only_between_nearly_equal_scores() -> None:
    order = [0, 2, 1, 3]
    for distance, passes in ((0.5 * ORDER_TOLERANCE, True), (2e-2, False)):
        boxes, labels = detections()
        boxes[2, 4] = boxes[1, 4] - np.float32(distance)
        found = compare("x", False, (boxes, labels), (boxes[order], labels[order]))
        assert found.passed == passes
    assert found.in_order == 4  # both have label 1: only their boxes differ
