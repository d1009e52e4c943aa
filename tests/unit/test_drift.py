"""How the detections of two rows differ, picture by picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cascadeport import evaluation
from cascadeport.evaluation import Detected
from cascadeport.results import drift
from cascadeport.results.drift import tally
from cascadeport.results.drift.pairing import Found, differences

FILES = {1: "a.jpg", 2: "b.jpg", 3: "empty.jpg"}


def detected(*rows: tuple[int, int, tuple[float, ...], float]) -> Detected:
    """Detections: picture, category, x, y, width, height, score."""
    return Detected(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        np.array([row[3] for row in rows], np.float64),
    )


BASE = (
    (1, 7, (10.0, 10.0, 40.0, 40.0), 0.9),
    (1, 8, (100.0, 10.0, 40.0, 40.0), 0.8),
    (2, 7, (10.0, 10.0, 40.0, 40.0), 0.7),
    (2, 7, (200.0, 10.0, 40.0, 40.0), 0.1),
)


def compared(*rows: tuple[int, int, tuple[float, ...], float]) -> drift.Drift:
    return drift.measure(("cpu", "310P3"), detected(*BASE), detected(*rows), FILES)


def test_rows_with_the_same_detections_do_not_differ() -> None:
    # In another order, too: rows are no identity.
    found = compared(*reversed(BASE))
    assert found.overall.is_none
    assert found.confident.is_none
    assert (found.pictures, found.alike, found.worst) == (3, 3, [])
    assert found.overall.boxes.worst == 0
    assert found.overall.boxes.share == 0


def test_a_moved_box_is_named_with_its_picture() -> None:
    found = compared(*BASE[:2], (2, 7, (13.0, 10.0, 40.0, 40.0), 0.7), BASE[3])
    assert found.overall.pairs == 4
    assert (found.overall.boxes.count, found.overall.boxes.share) == (1, 0.25)
    assert (found.overall.boxes.worst, found.overall.boxes.picture) == (3.0, 2)
    assert found.overall.scores.count == 0
    assert found.alike == 2
    (worst,) = found.worst
    assert (worst.id, worst.file, worst.moved) == (2, "b.jpg", 1)


def test_a_moved_score_is_named() -> None:
    found = compared(*BASE[:2], (2, 7, BASE[2][2], 0.6), BASE[3])
    assert found.overall.scores.count == 1
    assert found.overall.scores.worst == pytest.approx(0.1)
    assert found.overall.boxes.count == 0


def test_what_nobody_could_see_is_no_move() -> None:
    found = compared(*BASE[:2], (2, 7, (10.4, 10.0, 40.0, 40.0), 0.705), BASE[3])
    assert (found.overall.boxes.count, found.overall.scores.count) == (0, 0)
    assert found.overall.identical == 3
    assert not found.overall.is_none
    assert found.alike == 3


def test_a_changed_class_is_one_difference_and_not_two() -> None:
    found = compared((1, 9, BASE[0][2], 0.85), *BASE[1:])
    assert found.overall.classes.count == 1
    assert (found.overall.missing.count, found.overall.extra.count) == (0, 0)
    assert found.overall.classes.share == 0.25
    assert found.overall.classes.worst == 0.9
    assert found.worst[0].classes == 1


def test_missing_and_extra_detections_are_named() -> None:
    found = compared(BASE[0], *BASE[2:], (3, 8, (5.0, 5.0, 9.0, 9.0), 0.95))
    assert (found.overall.missing.count, found.overall.missing.picture) == (1, 1)
    assert (found.overall.extra.count, found.overall.extra.picture) == (1, 3)
    assert found.overall.missing.share == pytest.approx(1 / 5)
    assert [picture.id for picture in found.worst] == [3, 1]
    assert [picture.weight for picture in found.worst] == [0.95, 0.8]


def test_below_the_fixed_score_nothing_is_confident() -> None:
    found = compared(*BASE[:3])
    assert found.overall.missing.count == 1
    assert found.confident.missing.count == 0
    assert found.worst == []


def test_a_score_that_crosses_the_fixed_score_is_missing_there() -> None:
    assert tally.CONFIDENT == 0.5
    found = compared(*BASE[:2], (2, 7, BASE[2][2], 0.45), BASE[3])
    assert found.overall.missing.count == 0
    assert found.confident.missing.count == 1


def test_pairs_are_those_that_overlap_most() -> None:
    """Two boxes of a class side by side; the second row has them in the other order, moved."""
    first = detected((1, 7, (0.0, 0.0, 10.0, 10.0), 0.9), (1, 7, (4.0, 0.0, 10.0, 10.0), 0.8))
    second = detected((1, 7, (4.5, 0.0, 10.0, 10.0), 0.9), (1, 7, (0.5, 0.0, 10.0, 10.0), 0.8))
    found = drift.measure(("a", "b"), first, second, {1: "a.jpg"})
    assert found.overall.boxes.worst == 0.5
    assert found.overall.scores.worst == pytest.approx(0.1)


def test_it_counts_every_detection_once() -> None:
    """Random detections: pairs, changed, missing and extra are all there are, in both rows."""
    random = np.random.default_rng(3)
    for _ in range(20):
        rows = [_random(random, 60) for _ in range(2)]
        found = drift.measure(("a", "b"), *rows, {key: f"{key}.jpg" for key in range(1, 6)})
        for summary in (found.overall, found.confident):
            paired = summary.pairs + summary.classes.count
            assert paired + summary.missing.count == summary.first
            assert paired + summary.extra.count == summary.second
        assert found.overall.first == len(rows[0].scores)


def _random(random: np.random.Generator, count: int) -> Detected:
    return Detected(
        random.integers(1, 6, count),
        random.integers(1, 3, count),
        np.hstack([random.uniform(0, 60, (count, 2)), random.uniform(10, 60, (count, 2))]),
        random.uniform(0, 1, count),
    )


def test_swapping_the_rows_swaps_missing_and_extra() -> None:
    random = np.random.default_rng(5)
    rows = [_random(random, 60) for _ in range(2)]
    files = {key: f"{key}.jpg" for key in range(1, 6)}
    there = drift.measure(("a", "b"), rows[0], rows[1], files)
    back = drift.measure(("b", "a"), rows[1], rows[0], files)
    assert there.overall.missing == back.overall.extra
    assert there.overall.boxes == back.overall.boxes
    assert [one.weight for one in there.worst] == pytest.approx([one.weight for one in back.worst])


def test_detections_are_read_from_the_file_of_a_row(tmp_path: Path) -> None:
    path = tmp_path / "detections.json"
    records = [
        {"image_id": picture, "category_id": category, "bbox": list(box), "score": score}
        for picture, category, box, score in BASE
    ]
    path.write_text(json.dumps(records), encoding="utf-8")
    truth = tmp_path / "annotations.json"
    images = [{"id": picture} for picture in FILES]
    categories = [{"id": category, "name": str(category)} for category in (7, 8)]
    truth.write_text(
        json.dumps({"images": images, "annotations": [], "categories": categories}),
        encoding="utf-8",
    )
    found = evaluation.load(truth, path, list(FILES)).detected
    expected = detected(*BASE)
    for key in ("pictures", "categories", "boxes", "scores"):
        assert np.array_equal(getattr(found, key), getattr(expected, key))
    path.write_text("[]", encoding="utf-8")
    assert evaluation.load(truth, path, list(FILES)).detected.boxes.shape == (0, 4)


def test_a_drawing_shows_both_rows_and_what_differs() -> None:
    one = Found(
        np.array([[10.0, 10, 50, 50], [60, 10, 90, 40]]), np.array([0.9, 0.8]), np.array([7, 7])
    )
    other = replace(one, categories=np.array([7, 8]))
    image = np.full((100, 120, 3), 90, np.uint8)
    listed = list(differences(one, other, 0.5, 0.01))
    assert [each.kind for each in listed] == ["same", "class"]
    drawn = drift.draw(image, listed, {7: "disc", 8: "star"}, ("CPU", "310P3"))
    plain = drift.draw(image, listed[:1], {7: "disc", 8: "star"}, ("CPU", "310P3"))
    assert drawn.shape == plain.shape
    middle = drawn.shape[1] // 2
    for half in (slice(0, middle), slice(middle, None)):
        assert (drawn[:, half] != plain[:, half]).any(), "the difference is shown on both sides"
