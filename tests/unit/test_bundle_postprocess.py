"""From outputs to detections, and outputs that break the contract."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bundle.errors import BundleError
from bundle.geometry import PictureGeometry, fit
from bundle.job import Picture, Preprocess, Shape
from bundle.postprocess import check_outputs, coco_rows, locate
from tests.helpers import bundle_jobs as jobs

JOB = jobs.checked(jobs.job(Path("p"), [jobs.item(1, "a.jpg", 640, 426)]))
GEOMETRY = fit(
    Picture(1, "a.jpg", 640, 426),
    Preprocess("float32", (Shape(1216, 1216),), (1216, 1216), (0,) * 3, (1,) * 3, "rgb", "centre"),
)


def outputs(*rows: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x1, y1, x2, y2, score, label per row."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return table[:, :5].astype(np.float32), table[:, 5].astype(np.int64)


def test_the_written_geometry_is_used_and_nothing_else() -> None:
    """A geometry that no code would compute: its numbers must appear in the boxes."""
    odd = PictureGeometry(
        1, "a", 100, 50, 64, 64, 60, 20, left=7, top=11, scale_x=0.5, scale_y=0.25
    )
    found = locate(*outputs((17, 16, 27, 21, 0.9, 1)), odd, JOB)
    assert found.boxes.tolist() == [[20, 20, 40, 40]]
    assert found.labels.tolist() == [1]


def test_boxes_are_clipped_and_those_without_area_dropped() -> None:
    found = locate(
        *outputs(
            (-50, 0, 2000, 3000, 0.9, 0),  # beyond every edge: all of the picture
            (10, 0, 600, 203, 0.8, 0),  # inside the padding only
            (300, 300, 300, 400, 0.7, 0),  # no width
            (400, 400, 300, 500, 0.6, 0),  # turned round
        ),
        GEOMETRY,
        JOB,
    )
    assert found.boxes.tolist() == [[0, 0, 640, 426]]


def test_the_threshold_is_kept_and_padding_is_dropped_even_without_one() -> None:
    rows = [(300, 300, 400, 400, score, 0) for score in (0.0, 0.0499, 0.05, 0.5)]
    assert len(locate(*outputs(*rows), GEOMETRY, JOB).scores) == 2
    free = jobs.checked(
        jobs.job(
            Path("p"),
            [jobs.item(1, "a", 1, 1)],
            postprocess={"score_threshold": 0, "max_detections": 9},
        )
    )
    assert len(locate(*outputs(*rows), GEOMETRY, free).scores) == 3


def test_the_best_are_kept_by_falling_score_and_ties_in_their_order() -> None:
    few = jobs.checked(
        jobs.job(Path("p"), [jobs.item(1, "a", 1, 1)], postprocess={"max_detections": 3})
    )
    scores = [0.3, 0.9, 0.5, 0.5, 0.5, 0.2]
    rows = [(300 + n, 300, 400, 400, score, n % 3) for n, score in enumerate(scores)]
    found = locate(*outputs(*rows), GEOMETRY, few)
    assert found.scores.tolist() == pytest.approx([0.9, 0.5, 0.5])
    assert found.labels.tolist() == [1, 2, 0]


def test_coco_rows_carry_category_ids_and_sizes() -> None:
    found = locate(*outputs((190, 203 + 190, 380, 203 + 380, 0.75, 2)), GEOMETRY, JOB)
    (row,) = coco_rows(found, 42, JOB)
    assert (row["image_id"], row["category_id"], row["score"]) == (42, 5, 0.75)
    scale_y = 809 / 426
    assert row["bbox"] == pytest.approx([100, 190 / scale_y, 100, 190 / scale_y], abs=1e-3)


def test_nothing_found_is_no_row() -> None:
    found = locate(*outputs((0, 0, 0, 0, 0, 0)), GEOMETRY, JOB)
    assert coco_rows(found, 1, JOB) == []


GOOD = outputs((1, 1, 5, 5, 0.9, 2), (0, 0, 0, 0, 0, 99))
LONG = np.zeros((2, 5), np.float32)


def with_value(value: float) -> np.ndarray:
    boxes = GOOD[0].copy()
    boxes[0, 3] = value
    return boxes


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_outputs_that_obey(kind: type) -> None:
    check_outputs(GOOD[0], GOOD[1].astype(kind), JOB, "a.jpg")


@pytest.mark.parametrize(
    ("boxes", "labels", "message"),
    [
        (with_value(np.nan), GOOD[1], "'boxes' contains NaN"),
        (with_value(np.inf), GOOD[1], "'boxes' contains infinity"),
        (LONG[:, :4], GOOD[1], "'boxes' is float32 (2,4), not float32 (n,5)"),
        (LONG[np.newaxis], GOOD[1], "'boxes' is float32 (1,2,5)"),
        (LONG.astype(np.float64), GOOD[1], "'boxes' is float64 (2,5)"),
        (LONG, GOOD[1].astype(np.float32), "'labels' is float32 (2)"),
        (LONG, GOOD[1].reshape(2, 1), "'labels' is int64 (2,1)"),
        (LONG, GOOD[1][:1], "have 2 and 1 rows"),
        (GOOD[0], np.array([3, 0]), "'labels' contains class 3, but there are 3 classes"),
        (GOOD[0], np.array([-1, 0]), "'labels' contains class -1"),
    ],
)
def test_outputs_that_do_not(boxes: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(BundleError) as caught:
        check_outputs(boxes, labels, JOB, "picture a.jpg")
    assert message in caught.value.what
    assert caught.value.where == "picture a.jpg"
