"""Boxes on pictures: where they belong, at any size, and never outside the picture."""

from __future__ import annotations

import numpy as np
import pytest

from bundle.draw import draw_boxes

GREY = 90


def drawn(width: int, height: int, box: list[float], **options: object) -> np.ndarray:
    """Where something was drawn: (height, width) bool."""
    image = np.full((height, width, 3), GREY, np.uint8)
    result = draw_boxes(image, np.array([box]), ["thing"], **options)  # type: ignore[arg-type]
    assert (image == GREY).all()
    assert result.shape == image.shape
    return (result != GREY).any(axis=2)


@pytest.mark.parametrize(("width", "height"), [(64, 48), (640, 480), (4000, 3000)])
def test_the_four_sides_are_drawn_and_the_inside_is_seen(width: int, height: int) -> None:
    box = [width * 0.2, height * 0.5, width * 0.8, height * 0.9]
    there = drawn(width, height, box)
    x1, y1, x2, y2 = (round(value) for value in box)
    assert there[y2, x1:x2].all()
    assert there[y1:y2, x1].all()
    assert there[y1:y2, x2].all()
    assert not there[(y1 + 2 * y2) // 3, (x1 + x2) // 2]


def test_lines_and_letters_grow_with_the_picture() -> None:
    small = drawn(400, 300, [100, 150, 300, 250]).mean()
    large = drawn(4000, 3000, [1000, 1500, 3000, 2500]).mean()
    assert large == pytest.approx(small, rel=0.5)


def test_a_name_has_room_at_the_upper_edge_and_at_the_right() -> None:
    there = drawn(300, 200, [0, 0, 100, 100])
    assert there[2:12, 2:30].mean() > 0.9  # inside the box, because above there is nothing
    there = drawn(300, 200, [290, 150, 299, 199])
    assert there[:, 240:290].any()  # moved left, so that none of it is cut off


def test_a_box_that_reaches_beyond_the_picture() -> None:
    there = drawn(500, 400, [-100, -100, 900, 900])
    assert there[:, 0].all()
    assert there[:, -1].all()
    assert there[-1].all()


def test_scores_are_written_behind_names() -> None:
    box = [50.0, 100, 250, 180]
    with_score, without = drawn(300, 200, box, scores=[0.5]), drawn(300, 200, box)
    assert with_score[:100].sum() > without[:100].sum()


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (0, 0, 255), (80, 200, 60)])
def test_letters_differ_from_their_ground(color: tuple[int, int, int]) -> None:
    image = np.full((200, 300, 3), GREY, np.uint8)
    result = draw_boxes(image, np.array([[50, 100, 250, 180]]), ["WWWW"], color=color)
    label = result[80:98, 50:100].reshape(-1, 3).astype(int)
    light = label @ np.array([0.114, 0.587, 0.299])
    ground = np.dot(color, [0.114, 0.587, 0.299])
    assert np.abs(light - ground).max() > 100


def test_letters_that_opencv_does_not_have_and_no_boxes() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    draw_boxes(image, np.array([[5, 20, 30, 35]]), ["löwe 写真"], [0.5])
    assert (draw_boxes(image, np.zeros((0, 4)), []) == 0).all()
