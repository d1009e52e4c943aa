"""Annotation files that are hostile or odd: errors are found when the file is read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from cascadeport import datasets, evaluation
from cascadeport.base.errors import CascadeportError
from cascadeport.datasets import dataset

from tests.helpers import small_world

HUGE = int("1" + "0" * 400)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return small_world.dataset(tmp_path / "data")


def errors(folder: Path, content: dict[str, Any]) -> list[str]:
    small_world.write_annotations(folder, content)
    with pytest.raises(CascadeportError) as caught:
        datasets.load(folder)
    return caught.value.details


def test_integers_that_no_float_holds(folder: Path) -> None:
    content = small_world.annotations()
    record = content["annotations"][0]
    record.update(bbox=[HUGE, 0.5, 1, 1], area=HUGE, iscrowd=HUGE, category_id=HUGE)
    content["annotations"][1].update(id=HUGE)
    content["annotations"][2].update(image_id=HUGE)
    content["images"][3].update(width=HUGE)
    found = errors(folder, content)
    assert len(found) >= 7
    assert max(map(len, found)) < 200


def test_picture_ids_below_zero(folder: Path) -> None:
    content = small_world.annotations()
    content["images"][0]["id"] = -3
    content["annotations"][0]["image_id"] = -3
    assert errors(folder, content)[0] == "images[0]: id must be 0 or more, it is -3"


def test_half_a_character_in_the_name_of_a_category(folder: Path) -> None:
    content = small_world.annotations()
    content["categories"][0]["name"] = "\ud83d"
    assert errors(folder, content) == [
        "categories[0] (id 5): name '\\ud83d' has half a character in it (a lone surrogate)"
    ]


@pytest.mark.parametrize("complete", [True, False])
def test_half_a_character_elsewhere_does_not_stop_an_evaluation(
    folder: Path, tmp_path: Path, complete: bool
) -> None:
    content = small_world.annotations()
    content["info"] = {"description": "\ud83d"}
    if not complete:
        del content["annotations"][0]["iscrowd"]
    small_world.write_annotations(folder, content)
    detections = tmp_path / "detections.json"
    detections.write_text("[]")
    found = datasets.load(folder)
    path = datasets.for_evaluation(found, tmp_path)
    done = evaluation.evaluate(path, detections, [item.id for item in found.items])
    assert done.pictures == 4


def test_special_files_are_refused_unread(folder: Path) -> None:
    os.mkfifo(folder / "pipe.json")
    for name, kind in (("pipe.json", "a named pipe"), ("val2017", "a folder")):
        with pytest.raises(CascadeportError, match=f"is {kind}, not a file"):
            datasets.load(folder, annotations=name)
    with pytest.raises(CascadeportError, match="is a device, not a file"):
        datasets.load(folder, annotations="/dev/zero")


def test_a_file_above_the_limit_is_refused_unread(folder: Path) -> None:
    with (folder / "big.json").open("wb") as file:
        file.truncate(dataset.ANNOTATIONS_LIMIT + 1)
    with pytest.raises(CascadeportError, match="larger than 4,096 MiB"):
        datasets.load(folder, annotations="big.json")


def test_a_path_with_a_zero_byte(folder: Path) -> None:
    with pytest.raises(CascadeportError, match="path of the annotation file is not valid"):
        datasets.load(folder, annotations="a\0b.json")
