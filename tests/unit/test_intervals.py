"""Intervals over pictures: every draw is what pycocotools makes of the drawn pictures."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascadeport import evaluation
from cascadeport.evaluation import Matches
from cascadeport.results import intervals

from tests.helpers import coco_scenes
from tests.helpers.coco_scenes import Scenes


def matched(given: Scenes, folder: Path) -> Matches:
    folder.mkdir(exist_ok=True)
    return evaluation.match(*given.write(folder), given.image_ids)


def redrawn(given: Scenes, times: dict[int, int]) -> Scenes:
    """The pictures, each as often as it was drawn: a data set of its own."""
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in given.annotations["images"]:
        for _ in range(times[image["id"]]):
            number = len(images) + 1
            images.append({**image, "id": number})
            for one in given.annotations["annotations"]:
                if one["image_id"] == image["id"]:
                    objects.append({**one, "id": len(objects) + 1, "image_id": number})
            for one in given.detections:
                if one["image_id"] == image["id"]:
                    found.append({**one, "image_id": number})
    annotations = {**given.annotations, "images": images, "annotations": objects}
    return Scenes(annotations, found, [image["id"] for image in images])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("size", "key"), [("all", "AP"), ("small", "APs"), ("medium", "APm"), ("large", "APl")]
)
def test_over_all_pictures_it_is_the_accuracy_of_record_of_each_size(
    tmp_path: Path, seed: int, size: Any, key: str
) -> None:
    given = coco_scenes.scenes(seed, images=12, crowds=0.2)
    annotations, detections = given.write(tmp_path)
    expected = evaluation.evaluate(annotations, detections, given.image_ids).stats[key]
    found = evaluation.match(annotations, detections, given.image_ids, size)
    if expected is None:
        assert intervals.all_pictures(found) is None
    else:
        assert intervals.all_pictures(found) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("seed", "shape"),
    [
        (1, {}),
        (2, {"crowds": 0.5}),
        (3, {"gap": 7, "first_id": 139, "categories": 3}),
        # More than 100 detections of one category in a picture: COCO counts the best 100.
        (4, {"images": 6, "categories": 2, "detections": 320}),
    ],
)
def test_every_draw_is_what_pycocotools_says(
    tmp_path: Path, seed: int, shape: dict[str, Any]
) -> None:
    given = coco_scenes.scenes(seed, **{"images": 12, **shape})
    matches = matched(given, tmp_path)
    drawn = intervals.draw(len(given.image_ids), draws=6, seed=seed)
    found = intervals.accuracies(matches, drawn)
    for number in range(drawn.shape[1]):
        times = dict(zip(matches.picture_ids, drawn[:, number].tolist(), strict=True))
        stats, precision = coco_scenes.pycocotools(redrawn(given, times))
        assert found.map[number] == pytest.approx(stats[0], abs=1e-9)
        for place in range(len(matches.categories)):
            values = precision[:, :, place, 0, -1]
            values = values[values > -1]
            expected = values.mean() if values.size else np.nan
            assert found.categories[place, number] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_all_pictures_once_is_the_evaluation_itself(tmp_path: Path) -> None:
    given = coco_scenes.scenes(5)
    files = given.write(tmp_path)
    evaluated = evaluation.evaluate(*files, given.image_ids)
    once = intervals.all_pictures(evaluation.match(*files, given.image_ids))
    assert once == pytest.approx(evaluated.stats["AP"], abs=1e-12)


def test_no_object_is_no_accuracy(tmp_path: Path) -> None:
    given = coco_scenes.scenes(6, images=5, without_objects=1.0)
    matches = matched(given, tmp_path)
    assert intervals.all_pictures(matches) is None
    found = intervals.accuracies(matches, intervals.draw(5, draws=10))
    assert np.isnan(found.map).all()
    assert intervals.interval(found.map) is None
    assert intervals.paired(found, found) == intervals.Differences(None, {})


def test_no_detection_is_an_accuracy_of_zero(tmp_path: Path) -> None:
    matches = matched(coco_scenes.scenes(7, without_detections=1.0), tmp_path)
    found = intervals.accuracies(matches, intervals.draw(25, draws=10))
    assert found.map.max() == 0


def test_recalls_are_reached_as_the_coco_api_counts_them() -> None:
    recalls = np.linspace(0.0, 1.0, 101)
    for objects in (1, 3, 7, 57, 100, 331):
        recall = np.arange(0, objects + 1) / objects
        expected = [0, *(int(np.searchsorted(recalls, one, "right")) for one in recall[1:])]
        assert intervals._reached(recall).tolist() == expected


def test_draws_are_the_same_every_time_and_hold_as_many_pictures() -> None:
    drawn = intervals.draw(30, draws=50)
    assert (drawn == intervals.draw(30, draws=50)).all()
    assert (drawn != intervals.draw(30, draws=50, seed=1)).any()
    assert (drawn.sum(axis=0) == 30).all()


def worse(given: Scenes, share: float, seed: int) -> Scenes:
    """The same detections, a share of the boxes moved away."""
    generator = np.random.default_rng(seed)
    found = copy.deepcopy(given.detections)
    for one in found:
        if generator.random() < share:
            one["bbox"][0] += 3 * one["bbox"][2]
    return Scenes(given.annotations, found, given.image_ids)


def test_a_paired_interval_is_narrower_and_covers_the_difference(tmp_path: Path) -> None:
    given = coco_scenes.scenes(8, images=120)
    drawn = intervals.draw(120, draws=300)
    matches = [matched(given, tmp_path / "a"), matched(worse(given, 0.05, 1), tmp_path / "b")]
    reference, one = (intervals.accuracies(each, drawn) for each in matches)
    before, after = (intervals.all_pictures(each) for each in matches)
    assert before is not None
    assert after is not None
    pair = intervals.paired(one, reference).map
    alone = intervals.unpaired(one, before)
    assert pair is not None
    assert alone is not None
    for found in (pair, alone):
        assert found.low < after - before < found.high
    assert pair.high - pair.low < 0.5 * (alone.high - alone.low)


def test_equal_detections_differ_in_no_draw(tmp_path: Path) -> None:
    found = intervals.accuracies(
        matched(coco_scenes.scenes(9), tmp_path), intervals.draw(25, draws=50)
    )
    differences = intervals.paired(found, found)
    assert differences.map == intervals.Interval(0.0, 0.0)
    assert set(differences.categories.values()) == {intervals.Interval(0.0, 0.0)}
