"""The pictures are what was evaluated: a picture that changes during a pass is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from cascadeport import datasets
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.pipeline import pictures
from cascadeport.results import comparison as compare

from tests.helpers import finished


@pytest.fixture
def boxes(tmp_path: Path) -> datasets.Dataset:
    return finished.dataset(tmp_path / "boxes")


def as_read(dataset: datasets.Dataset) -> dict[int, str]:
    return {item.id: digest.of_file(dataset.pictures_dir / item.file) for item in dataset.items}


def test_pictures_that_stay(boxes: datasets.Dataset) -> None:
    assert pictures.changed(boxes, pictures.versions(boxes), as_read(boxes)) == []


def test_a_picture_replaced_while_the_pass_ran(boxes: datasets.Dataset) -> None:
    before, read = pictures.versions(boxes), as_read(boxes)
    path = boxes.pictures_dir / boxes.items[-1].file
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    (sentence,) = pictures.changed(boxes, before, read)
    assert sentence == f"1 of 14 pictures changed during the pass: {boxes.items[-1].file}"


def test_pictures_replaced_before_they_were_read(boxes: datasets.Dataset) -> None:
    """They are the same after the pass as when they were read, with their old times."""
    before = pictures.versions(boxes)
    for item in boxes.items[4:9]:
        path = boxes.pictures_dir / item.file
        facts = path.stat()
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (sentence,) = pictures.changed(boxes, before, as_read(boxes))
    assert sentence.startswith("5 of 14 pictures changed during the pass: 00000.jpg, ")
    assert sentence.endswith(", ...")


def test_pictures_replaced_and_put_back(boxes: datasets.Dataset) -> None:
    before, read = pictures.versions(boxes), as_read(boxes)
    read[boxes.items[0].id] = "0" * 64
    assert boxes.items[0].file in pictures.changed(boxes, before, read)[0]


def test_a_row_of_other_pictures(boxes: datasets.Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    finished.finish(folder, boxes)
    path = folder / "cpu" / "infer" / "pictures.jsonl"
    lines = path.read_text().splitlines()
    for content, reason in (
        ([json.dumps({**json.loads(lines[0]), "sha256": "0"}), *lines[1:]], "other pictures than"),
        (lines[1:], "is about other pictures than the data set's"),
        (["nonsense"], "not in the format"),
    ):
        path.write_text("\n".join(content))
        finished.seal(folder / "cpu")
        (row,) = compare.compare(compare.collect(folder, finished.known(folder, boxes))).rows
        assert row.status == "invalid"
        assert reason in row.reason


@pytest.mark.parametrize("content", ["[", "[]", "{}", '{"id": 1}', '{"id": "x", "sha256": "0"}'])
def test_a_record_that_the_bundle_did_not_write(tmp_path: Path, content: str) -> None:
    (tmp_path / "pictures.jsonl").write_text(content)
    with pytest.raises(CascadeportError, match="not in the format"):
        pictures.read(tmp_path)
