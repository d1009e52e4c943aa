"""Evaluation: equal to pycocotools, over exactly the expected pictures, with numbers or null."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascadeport import evaluation
from cascadeport.base.errors import CascadeportError
from cascadeport.evaluation import Evaluation
from cascadeport.evaluation import record as of_record
from cascadeport.evaluation.coco_files import Inputs
from cascadeport.evaluation.result import STATS
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.coco_scenes import Scenes, pycocotools, scenes

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "equal scores": {"decimals": 1},
    "crowds": {"crowds": 0.6},
    "ids with gaps": {"gap": 13},
    "large ids": {"first_id": 2**40, "gap": 3},
    "one picture": {"images": 1},
    "one category": {"categories": 1},
    "no objects": {"without_objects": 1.0},
    "no detections": {"without_detections": 1.0},
    "more than 100 in a picture": {"detections": 220, "categories": 2, "decimals": 2, "images": 8},
    "dense": {"objects": 50, "detections": 100, "decimals": 1},
}


def evaluated(tmp_path: Path, wanted: Scenes, image_ids: list[int] | None = None) -> Evaluation:
    annotations, detections = wanted.write(tmp_path)
    return evaluation.evaluate(annotations, detections, image_ids or wanted.image_ids)


def assert_equal(found: Evaluation, stats: Any, precision: Any, wanted: Scenes) -> None:
    """Compares everything with pycocotools' numbers, to 1e-9."""
    for name, expected in zip(STATS, stats, strict=True):
        if expected < 0:
            assert found.stats[name] is None
        else:
            assert found.stats[name] == pytest.approx(expected, abs=1e-9)
    precision = precision[:, :, :, 0, 2]
    ids = sorted(category["id"] for category in wanted.annotations["categories"])
    assert [one.id for one in found.per_category] == ids
    for index, one in enumerate(found.per_category):
        mine = precision[:, :, index]
        if (mine < 0).all():
            assert one.ap is one.ap50 is None
            assert one.annotations == 0
        else:
            assert one.ap == pytest.approx(mine.mean(), abs=1e-9)
            assert one.ap50 == pytest.approx(mine[0].mean(), abs=1e-9)
        for key, threshold in (("iou50", 0), ("iou75", 5)):
            curves = found.pr_curves[key]  # type: ignore[index]
            if mine[threshold][0] < 0:
                assert one.id not in curves.per_category
            else:
                np.testing.assert_allclose(
                    curves.per_category[one.id], mine[threshold], rtol=0, atol=1e-9
                )
    exists = precision[0, 0] > -1
    for key, threshold in (("iou50", 0), ("iou75", 5)):
        curves = found.pr_curves[key]  # type: ignore[index]
        if exists.any():
            expected = precision[threshold][:, exists].mean(axis=1)
            np.testing.assert_allclose(curves.all, expected, rtol=0, atol=1e-9)
            np.testing.assert_allclose(curves.recall, np.linspace(0, 1, 101), rtol=0, atol=1e-12)
        else:
            assert curves.all is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", KINDS)
def test_equals_pycocotools(tmp_path: Path, kind: str, seed: int) -> None:
    wanted = scenes(seed, **KINDS[kind])
    stats, precision = pycocotools(wanted)
    assert_equal(evaluated(tmp_path, wanted), stats, precision, wanted)


_SIDES = st.integers(0, 40)
_BOXES = st.tuples(_SIDES, _SIDES, st.integers(1, 40), st.integers(1, 40))


@settings(max_examples=60, deadline=None)
@given(
    objects=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), _BOXES, st.booleans())),
    found=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), _BOXES, st.integers(0, 3))),
)
def test_equals_pycocotools_where_boxes_and_scores_coincide(
    tmp_path_factory: pytest.TempPathFactory, objects: list[Any], found: list[Any]
) -> None:
    wanted = Scenes(
        annotations={
            "images": [{"id": number} for number in (1, 2, 3)],
            "categories": [{"id": number, "name": str(number)} for number in (1, 2)],
            "annotations": [
                {
                    "id": number,
                    "image_id": image,
                    "category_id": category,
                    "bbox": list(box),
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                }
                for number, (image, category, box, crowd) in enumerate(objects, 1)
            ],
        },
        detections=[
            {"image_id": image, "category_id": category, "bbox": list(box), "score": score / 4}
            for image, category, box, score in found
        ],
        image_ids=[1, 2, 3],
    )
    stats, precision = pycocotools(wanted)
    assert_equal(evaluated(tmp_path_factory.mktemp("e"), wanted), stats, precision, wanted)


def test_an_annotation_with_id_0_is_found_like_any_other(tmp_path: Path) -> None:
    wanted = scenes(3, decimals=1)
    expected = evaluated(tmp_path, wanted)
    for record in wanted.annotations["annotations"]:
        record["id"] -= 1
    assert wanted.annotations["annotations"][0]["id"] == 0
    assert evaluated(tmp_path, wanted).stats == expected.stats


def test_ids_beyond_the_range_of_float64(tmp_path: Path) -> None:
    expected = evaluated(tmp_path, scenes(4))
    large = evaluated(tmp_path, scenes(4, first_id=2**53 + 1))
    assert large.stats == expected.stats
    assert large.per_category[0].id == 2**53 + 1


def test_only_the_expected_pictures_count_and_all_of_them(tmp_path: Path) -> None:
    wanted = scenes(5, without_detections=0.5)
    some = wanted.image_ids[::2]
    kept = Scenes(
        wanted.annotations, [one for one in wanted.detections if one["image_id"] in some], some
    )
    found = evaluated(tmp_path, kept)
    stats, precision = pycocotools(kept, some)
    assert_equal(found, stats, precision, kept)
    assert found.pictures == len(some) > len({one["image_id"] for one in kept.detections})


def test_the_order_of_the_picture_ids_does_not_matter(tmp_path: Path) -> None:
    # Between equal scores the order of pictures decides, so it must be that of their ids.
    wanted = scenes(11, decimals=1, categories=2)
    wanted.annotations["images"].reverse()
    stats, precision = pycocotools(wanted)
    found = evaluated(tmp_path, wanted, wanted.image_ids[::-1])
    assert_equal(found, stats, precision, wanted)


def test_a_picture_without_detections_lowers_recall(tmp_path: Path) -> None:
    box = {"bbox": [10, 10, 50, 50], "category_id": 1}
    wanted = Scenes(
        {
            "images": [{"id": 1}, {"id": 2}],
            "categories": [{"id": 1, "name": "a"}],
            "annotations": [{**box, "id": 1, "image_id": 1}, {**box, "id": 2, "image_id": 2}],
        },
        [{**box, "image_id": 1, "score": 0.9}],
        [1, 2],
    )
    found = evaluated(tmp_path, wanted)
    assert found.stats["AR100"] == 0.5
    assert found.stats["AP"] == pytest.approx(51 / 101)


def test_missing_iscrowd_and_area_have_their_usual_meaning(tmp_path: Path) -> None:
    wanted = scenes(6, crowds=0.0)
    for record in wanted.annotations["annotations"]:
        record["area"] = record["bbox"][2] * record["bbox"][3]
    expected = evaluated(tmp_path, wanted)
    for index, record in enumerate(wanted.annotations["annotations"]):
        del record["area"]
        if index % 2:
            del record["iscrowd"]
        else:
            record["iscrowd"] = False
    assert evaluated(tmp_path, wanted).stats == expected.stats


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    evaluated(tmp_path, scenes(7))
    assert capfd.readouterr() == ("", "")


def one_of_each() -> Scenes:
    return Scenes(
        {
            "images": [{"id": 1}, {"id": 2}],
            "categories": [{"id": 1, "name": "a"}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
        },
        [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.5}],
        [1, 2],
    )


@pytest.mark.parametrize(
    ("key", "value", "detail"),
    [
        ("image_id", 3, "[0].image_id: picture 3 is not one of this run"),
        ("category_id", 7, "[0].category_id: there is no category 7"),
        ("category_id", "1", "[0].category_id"),
        ("bbox", [1, 1, float("nan"), 9], "[0].bbox[2]"),
        ("bbox", [1, 1, float("inf"), 9], "[0].bbox[2]"),
        ("bbox", [1, 1, -9, 9], "[0].bbox[2]"),
        ("bbox", [1, 1, 9], "[0].bbox"),
        ("score", float("nan"), "[0].score"),
        ("score", None, "[0].score"),
        ("score", True, "[0].score"),
    ],
)
def test_an_invalid_detection_is_an_error_with_its_position(
    tmp_path: Path, key: str, value: Any, detail: str
) -> None:
    wanted = one_of_each()
    wanted.detections[0][key] = value
    with pytest.raises(CascadeportError) as raised:
        evaluated(tmp_path, wanted)
    assert any(one.startswith(detail) for one in raised.value.details), raised.value.details
    assert raised.value.where.endswith("detections.json")
    assert raised.value.next


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"", "the file: invalid json"),
        (b'[{"image_id": 1, ', "the file: invalid json"),
        (b'{"a": 1}', "the file: input should be a valid array"),
        (b'[{"image_id": 1}]', "[0].category_id: field required"),
        (b"[1]", "[0]: input should be"),
    ],
)
def test_a_file_that_is_not_a_list_of_detections(
    tmp_path: Path, content: bytes, detail: str
) -> None:
    annotations, detections = one_of_each().write(tmp_path)
    detections.write_bytes(content)
    with pytest.raises(CascadeportError) as raised:
        evaluation.evaluate(annotations, detections, [1, 2])
    assert raised.value.details[0].lower().startswith(detail)


def test_an_expected_picture_that_the_annotations_lack(tmp_path: Path) -> None:
    wanted = one_of_each()
    with pytest.raises(CascadeportError) as raised:
        evaluated(tmp_path, wanted, [1, 2, 5])
    assert raised.value.details == ["picture 5 is not in 'images'"]
    assert raised.value.where.endswith("annotations.json")


@pytest.mark.parametrize(
    ("key", "value", "detail"),
    [
        ("bbox", [1, 1, 9, float("nan")], "annotations[0].bbox[3]"),
        ("bbox", [1, 1, 9, -9], "annotations[0].bbox[3]"),
        ("category_id", 9, "annotations[0].category_id: there is no category 9"),
        ("iscrowd", 2, "annotations[0].iscrowd"),
        ("area", -1, "annotations[0].area"),
    ],
)
def test_an_invalid_annotation(tmp_path: Path, key: str, value: Any, detail: str) -> None:
    wanted = one_of_each()
    wanted.annotations["annotations"][0][key] = value
    with pytest.raises(CascadeportError) as raised:
        evaluated(tmp_path, wanted)
    assert any(one.startswith(detail) for one in raised.value.details), raised.value.details


def test_of_many_errors_the_first_are_shown(tmp_path: Path) -> None:
    wanted = one_of_each()
    wanted.detections[:] = [{**wanted.detections[0], "image_id": 9} for _ in range(500)]
    with pytest.raises(CascadeportError) as raised:
        evaluated(tmp_path, wanted)
    assert len(raised.value.details) == 21
    assert raised.value.details[-1] == "and 480 more"


def test_no_pictures_and_missing_files(tmp_path: Path) -> None:
    annotations, detections = one_of_each().write(tmp_path)
    with pytest.raises(CascadeportError, match="no picture"):
        evaluation.evaluate(annotations, detections, [])
    with pytest.raises(CascadeportError, match="does not exist"):
        evaluation.evaluate(annotations, tmp_path / "none.json", [1])


def test_reading_and_writing_again_gives_equal_bytes(tmp_path: Path) -> None:
    found = evaluated(tmp_path, scenes(8, gap=7))
    path = tmp_path / "evaluation.json"
    evaluation.write(found, path)
    content = path.read_bytes()
    again = evaluation.read(path)
    assert again == found
    evaluation.write(again, path)
    assert path.read_bytes() == content
    values = json.loads(content)
    assert list(values["stats"]) == list(STATS)
    assert {role: one["name"] for role, one in values["evaluators"].items()} == {
        "record": "pycocotools",
        "check": "hotcoco",
    }
    assert len(values["pr_curves"]["iou75"]["recall"]) == 101


def test_the_numbers_of_record_are_pycocotools_own_to_the_last_bit(tmp_path: Path) -> None:
    wanted = scenes(11, crowds=0.3, decimals=2)
    found = evaluated(tmp_path, wanted)
    assert list(found.stats.values()) == pycocotools(wanted)[0].tolist()
    assert found.evaluators.record.version == metadata.version("pycocotools")
    assert found.evaluators.check.version == metadata.version("hotcoco")
    assert found.disagreements == []
    annotations, detections = wanted.write(tmp_path)
    assert found.sources.annotations == hashlib.sha256(annotations.read_bytes()).hexdigest()
    assert found.sources.detections == hashlib.sha256(detections.read_bytes()).hexdigest()


def test_evaluators_that_differ_are_named_with_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pycocotools itself, with one number and then one precision moved by twice the tolerance."""
    wanted = scenes(12)
    honest = of_record.run

    def moved(inputs: Inputs) -> Any:
        found = honest(inputs)
        found.stats[1] += 2e-9
        found.eval["precision"][0, 0, 0, 0, 2] += 2e-9
        return found

    monkeypatch.setattr(of_record, "run", moved)
    number, precision = evaluated(tmp_path, wanted).disagreements
    assert number.startswith("AP50 is 0.")
    assert " by pycocotools 2." in number
    assert " by hotcoco 1." in number
    assert precision.startswith("precision differs by 2.0e-09 between pycocotools 2.")


def test_what_was_kept_of_the_same_files_is_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = scenes(13)
    annotations, detections = wanted.write(tmp_path)
    found = evaluation.evaluate(annotations, detections, wanted.image_ids)

    def never(inputs: Inputs) -> Any:
        raise AssertionError("it was computed again")

    honest = of_record.run
    monkeypatch.setattr(of_record, "run", never)
    again = evaluation.evaluate(annotations, detections, wanted.image_ids, found)
    assert again == found
    # Whatever it says otherwise, or about anything else, it is not believed.
    monkeypatch.setattr(of_record, "run", honest)
    older = found.evaluators.record.model_copy(update={"version": "2.0.0"})
    for forged in (
        *({"stats": {**found.stats, name: (found.stats[name] or 0) + 2e-9}} for name in STATS),
        {"stats": dict.fromkeys(STATS)},
        {"sources": found.sources.model_copy(update={"detections": "0" * 64})},
        {"sources": found.sources.model_copy(update={"annotations": "0" * 64})},
        {"sources": found.sources.model_copy(update={"pictures": "0" * 64})},
        {"evaluators": found.evaluators.model_copy(update={"record": older})},
        {"disagreements": ["AP is 1"]},
    ):
        kept = found.model_copy(update=forged)
        assert evaluation.evaluate(annotations, detections, wanted.image_ids, kept) == found


def test_undefined_numbers_are_null_in_the_file(tmp_path: Path) -> None:
    found = evaluated(tmp_path, scenes(9, without_objects=1.0))
    evaluation.write(found, tmp_path / "evaluation.json")
    values = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(values["stats"].values()) == {None}
    assert values["pr_curves"]["iou50"]["all"] is None
    assert values["detections"] > 0


@pytest.mark.parametrize("content", ["", "{}", '{"format": 1}', "[1]"])
def test_an_evaluation_of_another_version(tmp_path: Path, content: str) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(content)
    with pytest.raises(CascadeportError, match="not in the format"):
        evaluation.read(path)


def test_diagnosis_marks_right_wrong_ignored_found_and_missed(tmp_path: Path) -> None:
    def box(x: int, **more: Any) -> dict[str, Any]:
        return {"image_id": 10, "category_id": 4, "bbox": [x, 0, 20, 20], **more}

    wanted = Scenes(
        {
            "images": [{"id": 10}, {"id": 11}],
            "categories": [{"id": 4, "name": "tie"}, {"id": 9, "name": "cup"}],
            "annotations": [
                box(0, id=0),
                box(100, id=1),
                box(200, id=2),
                {**box(300, id=3, iscrowd=1), "bbox": [300, 0, 100, 100]},
            ],
        },
        [
            box(1, score=0.9),  # right
            box(0, score=0.8),  # a second one on the same object
            box(310, score=0.7),  # on the crowd
            {**box(100, score=0.6), "category_id": 9},  # another class
            box(200, score=0.2),  # below the score threshold
        ],
        [10, 11],
    )
    annotations, detections = wanted.write(tmp_path)
    marked = evaluation.diagnose(annotations, detections, [10, 11], score_threshold=0.3)
    assert marked[11] == []
    assert [(one.verdict, one.box[0], one.category, one.score) for one in marked[10]] == [
        ("right", 1, "tie", 0.9),
        ("wrong", 0, "tie", 0.8),
        ("ignored", 310, "tie", 0.7),
        ("wrong", 100, "cup", 0.6),
        ("found", 0, "tie", None),
        ("missed", 100, "tie", None),
        ("missed", 200, "tie", None),
        ("crowd", 300, "tie", None),
    ]
