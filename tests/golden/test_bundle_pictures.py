"""Real pictures are decoded as by OpenCV itself, and copies of them without their data refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from bundle import decoder
from bundle.errors import PictureError
from bundle.header import read_header
from bundle.job import Picture
from bundle.picture import decode, read_bytes


@pytest.fixture(params=["counted", "captured"], autouse=True)
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kernel's count of write calls, and as on a system that has none."""
    if request.param == "captured":
        monkeypatch.setattr(decoder, "_COUNTERS", "/absent")


@pytest.fixture
def pictures(shared: Path) -> list[tuple[Path, Picture]]:
    """The 26 pictures and their sizes according to COCO."""
    folder = shared / "coco26"
    truth = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    return [
        (
            folder / "val2017" / one["file_name"],
            Picture(one["id"], one["file_name"], one["width"], one["height"]),
        )
        for one in truth["images"]
    ]


def test_pixels_are_those_of_imread(pictures: list[tuple[Path, Picture]]) -> None:
    assert len(pictures) == 26
    for path, picture in pictures:
        image = decode(read_bytes(str(path)), picture, str(path))
        assert np.array_equal(image, cv2.imread(str(path)))


@pytest.mark.parametrize(
    ("start", "end"), [(0.1, 1), (0.5, 1), (0.99, 1), (0.1, 0.9), (0, 0.9), (0.5, 0.52)]
)
def test_pictures_without_some_of_their_data_are_refused(
    pictures: list[tuple[Path, Picture]], start: float, end: float
) -> None:
    for path, picture in pictures:
        data = path.read_bytes()
        header = read_header(data)
        assert header is not None
        first = header.scan + 14
        length = len(data) - 2 - first
        gutted = data[: first + int(length * start)] + data[first + int(length * end) :]
        with pytest.raises(PictureError, match="is damaged: its JPEG decoder warns"):
            decode(gutted, picture, str(path))
