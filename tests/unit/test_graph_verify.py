"""Judgement of one picture: what may differ from PyTorch, and what may not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.graph import Session, verify
from cascadeport.graph.comparison import BOX_FLOOR, FACTOR, SCORE_FLOOR, Cuts, compare, problem

Detections = tuple[np.ndarray, np.ndarray]
CUTS = Cuts(score=0.05, count=100)


def detections(count: int = 40, classes: int = 4) -> Detections:
    """Boxes beside each other, with falling scores."""
    index = np.arange(count)
    x, y = 60.0 * (index % 10), 60.0 * (index // 10)
    boxes = np.stack([x, y, x + 40, y + 30, np.linspace(0.9, 0.1, count)], axis=1)
    return boxes.astype("f4"), index % classes


def moved(pixels: float, scores: float = 0.0, seed: int = 0) -> Detections:
    """All of them moved by up to so many pixels and so much score."""
    boxes, labels = detections()
    draw = np.random.default_rng(seed).uniform(-1, 1, boxes.shape)
    return (boxes + draw * [pixels] * 5 * [1, 1, 1, 1, 0] + draw * [0, 0, 0, 0, scores]), labels


def test_the_same_passes() -> None:
    found = compare("x", False, detections(), detections())
    assert found.passed
    assert (found.expected, found.found, found.moved) == (40, 40, 0)
    assert list(found.boxes.error) == [0, 0, 0]


def test_padding_is_not_a_detection() -> None:
    boxes, labels = detections()
    padded = np.vstack([boxes, np.zeros((6, 5), "f4")]), np.concatenate([labels, np.zeros(6, int)])
    assert compare("x", False, (boxes, labels), padded).passed


def test_none_against_none_passes_and_none_against_some_does_not() -> None:
    none = np.zeros((0, 5), "f4"), np.zeros(0, int)
    assert compare("x", False, none, none, cuts=CUTS).passed
    assert not compare("x", False, none, detections(), cuts=CUTS).passed
    assert not compare("x", False, detections(), none, cuts=CUTS).passed


@pytest.mark.parametrize(
    ("row", "column", "change", "passes"),
    [
        (1, 2, 0.9 * BOX_FLOOR.max, True),
        (1, 2, 1.2 * BOX_FLOOR.max, False),
        (2, 4, 0.9 * SCORE_FLOOR.max, True),
        (2, 4, 1.2 * SCORE_FLOOR.max, False),
        (0, 0, np.nan, False),
        (0, 4, np.nan, False),
    ],
)
def test_the_floors_apply_where_pytorch_has_no_noise(
    row: int, column: int, change: float, passes: bool
) -> None:
    boxes, labels = detections()
    boxes[row, column] += change
    for noise in ([], [detections()]):
        assert compare("x", False, detections(), (boxes, labels), noise, CUTS).passed == passes


def test_what_moves_in_pytorch_may_move_in_the_lowering() -> None:
    noise, boxes = detections(), detections()[0]
    noise[0][7, 0] += 0.09
    boxes[7, 0] -= 0.1
    found = boxes, detections()[1]
    assert not compare("x", False, detections(), found).passed
    passed = compare("x", False, detections(), found, [detections(), noise], CUTS)
    assert passed.passed
    assert passed.boxes.ratio[2] == pytest.approx(0.1 / 0.09, rel=1e-3)
    boxes[7, 0] -= FACTOR.max * 0.09
    refused = compare("x", False, detections(), found, [detections(), noise], CUTS)
    assert not refused.passed
    assert "PyTorch from itself by 0.09 px" in problem(refused)


@pytest.mark.parametrize(("pixels", "scores"), [(2e-3, 0.0), (0.0, 3e-5)])
def test_many_small_differences_are_refused_far_below_the_largest_allowed_one(
    pixels: float, scores: float
) -> None:
    noise = [moved(1e-4, 1e-6, seed) for seed in (1, 2, 3)]
    assert compare("x", False, detections(), moved(1e-4, 1e-6, 4), noise, CUTS).passed
    found = compare("x", False, detections(), moved(pixels, scores, 4), noise, CUTS)
    assert found.boxes.error.max < BOX_FLOOR.max
    assert found.scores.error.max < SCORE_FLOOR.max
    assert not found.passed
    assert "median" in problem(found)


def test_another_label_does_not_pass() -> None:
    boxes, labels = detections()
    labels[3] = 2
    found = compare("x", False, detections(), (boxes, labels), cuts=CUTS)
    assert not found.passed
    assert (len(found.missing), len(found.extra)) == (1, 1)
    assert "lacks 1 detection (scores 0.838)" in problem(found)


def test_rows_may_change_places() -> None:
    boxes, labels = detections()
    order = np.arange(len(labels))
    order[[1, 5, 9]] = 5, 9, 1
    found = compare("x", False, (boxes, labels), (boxes[order], labels[order]))
    assert found.passed
    assert found.moved == 3


def test_of_two_that_overlap_each_finds_its_own() -> None:
    boxes = np.array([[0, 0, 100, 100, 0.9], [0, 0, 100, 80, 0.9]], "f4")
    labels = np.array([1, 1])
    assert compare("x", False, (boxes, labels), (boxes[::-1], labels)).boxes.error.max == 0


@pytest.mark.parametrize(
    ("row", "score", "passes"),
    [(39, 0.05005, True), (39, 0.051, False), (10, 0.6, False)],
)
def test_only_at_the_threshold_may_a_detection_be_missing_or_extra(
    row: int, score: float, passes: bool
) -> None:
    boxes, labels = detections()
    boxes[row, 4] = score
    fewer = np.delete(boxes, row, axis=0), np.delete(labels, row)
    for expected, found in (((boxes, labels), fewer), (fewer, (boxes, labels))):
        compared = compare("x", False, expected, found, cuts=CUTS)
        assert compared.passed == passes
        assert compared.at_a_cut == int(passes)


def test_where_the_list_is_full_its_last_may_be_another() -> None:
    boxes, labels = detections(41)
    boxes[40, 4] = boxes[39, 4] - np.float32(5e-5)
    expected = boxes[:40], labels[:40]
    last = np.delete(boxes, 39, axis=0), np.delete(labels, 39)
    assert compare("x", False, expected, last, cuts=Cuts(0.05, 40)).passed
    assert not compare("x", False, expected, last, cuts=Cuts(0.05, 100)).passed
    other = np.delete(boxes, 20, axis=0), np.delete(labels, 20)
    assert not compare("x", False, expected, other, cuts=Cuts(0.05, 40)).passed


def test_what_pytorch_itself_loses_by_rounding_may_be_lost() -> None:
    boxes, labels = detections()
    fewer = np.delete(boxes, 7, axis=0), np.delete(labels, 7)
    full = boxes, labels
    assert compare("x", False, full, fewer, [fewer], CUTS).passed
    assert compare("x", False, fewer, full, [full], CUTS).passed
    assert not compare("x", False, full, fewer, [full], CUTS).passed


@pytest.mark.parametrize(("lost", "passes"), [(1, True), (4, True), (5, False)])
def test_where_pytorch_itself_loses_one_a_few_others_may_be_lost(lost: int, passes: bool) -> None:
    """Proposals of equal scores: another order, another one kept, wherever there are some."""
    boxes, labels = detections()
    fewer = boxes[10 + lost :], labels[10 + lost :]
    full = boxes[10:], labels[10:]
    own = np.delete(full[0], 20, axis=0), np.delete(full[1], 20)
    assert compare("x", False, full, fewer, [own], CUTS).passed is passes


def test_one_that_replaces_another_may_overlap_it() -> None:
    boxes, labels = detections()
    moved = boxes.copy()
    moved[3, :4] += 1.0
    own = np.delete(boxes, 8, axis=0), np.delete(labels, 8)
    compared = compare("x", False, (boxes, labels), (moved, labels), [own], CUTS)
    assert (compared.passed, compared.exchanged) == (True, 1)
    assert not compare("x", False, (boxes, labels), (moved, labels), [(boxes, labels)], CUTS).passed
    everywhere = boxes.copy()
    everywhere[:, :4] += 1.0
    assert not compare("x", False, (boxes, labels), (everywhere, labels), [own], CUTS).passed


@pytest.mark.parametrize(
    ("count", "lost", "passes"), [(100, 1, True), (100, 2, False), (99, 1, False)]
)
def test_of_a_hundred_one_may_be_lost(count: int, lost: int, passes: bool) -> None:
    boxes, labels = detections(count)
    fewer = boxes[lost:], labels[lost:]
    assert compare("x", False, (boxes, labels), fewer, cuts=CUTS).passed == passes


@pytest.mark.parametrize(
    ("count", "moved", "lost", "passes"),
    [
        (100, 1, 0, True),
        (100, 2, 0, False),
        (100, 1, 1, False),
        (99, 1, 0, False),
        (200, 1, 1, True),
    ],
)
@pytest.mark.parametrize(("column", "change"), [(2, 0.053), (4, 0.002)])
def test_of_a_hundred_one_may_go_astray(
    count: int, moved: int, lost: int, passes: bool, column: int, change: float
) -> None:
    boxes, labels = detections(count)
    found = boxes.copy()
    found[10 : 10 + moved, column] += change
    compared = compare(
        "x", False, (boxes, labels), (found[lost:], labels[lost:]), [(boxes, labels)], CUTS
    )
    assert compared.passed == passes
    assert len(compared.astray) == (moved if passes else 0)
    if passes:
        assert compared.boxes.error.max == compared.scores.error.max == 0
        assert compared.astray[0][column == 4] == pytest.approx(change, rel=1e-3)
    else:
        assert problem(compared)


def test_the_rest_is_measured_where_one_goes_astray() -> None:
    boxes, labels = detections(100)
    found = boxes.copy()
    found[:, 0] += 1e-3  # Within the maximum's floor, not within the median's.
    found[10, 0] += 0.05
    compared = compare("x", False, (boxes, labels), (found, labels), [(boxes, labels)], CUTS)
    assert not compared.passed
    assert "median" in problem(compared)


def folder(path: Path, pictures: list[Detections]) -> Path:
    """An exporter's folder; the first picture is the traced one, and one has no detections."""
    none = np.zeros((0, 5), "f4"), np.zeros(0, int)
    (path / "reference").mkdir(parents=True)
    listed = []
    for index, (boxes, labels) in enumerate([*pictures, none]):
        file = f"reference/{index:02}.npz"
        arrays = {"input": np.full((1, 3, 2, 2), index), "boxes": boxes, "labels": labels}
        if len(boxes):
            arrays |= {"noise0_boxes": boxes, "noise0_labels": labels}
        np.savez(path / file, **arrays)
        listed.append({"name": f"{index}.jpg", "file": file, "traced": index == 0})
    cuts = {"score": 0.05, "count": 100}
    record = {"format": 2, "pictures": listed, "noise": ["again"], "cuts": cuts}
    (path / "export.json").write_text(json.dumps(record))
    return path


@pytest.mark.parametrize("kind", ["lacks 1 detection", "moves 1 detection by up to 0.1 px"])
@pytest.mark.parametrize(("strays", "passes"), [(0, True), (1, True), (2, False)])
def test_one_picture_may_have_a_stray_detection(
    tmp_path: Path, strays: int, passes: bool, kind: str
) -> None:
    boxes, labels = detections(100)
    none = np.zeros((0, 5), "f4"), np.zeros(0, int)
    apart = boxes.copy()
    apart[7, 0] += 0.1
    stray = (boxes[1:], labels[1:]) if kind.startswith("lacks") else (apart, labels)
    found = [stray] * strays + [(boxes, labels)] * (4 - strays) + [none]
    session = Session("fake", lambda inputs: [found[int(each.flat[0])] for each in inputs])
    report = verify(session, "x.onnx", folder(tmp_path / "export", [(boxes, labels)] * 4))
    assert report.passed == passes
    lines = list(report.lines)
    assert len(lines) == 4
    assert sum(kind in line for line in lines) == strays
    assert sum(kind in each for each in report.problems) == (0 if passes else strays)
    report.write(tmp_path / "verification.json")
    written = json.loads((tmp_path / "verification.json").read_text())
    assert written["noise"] == ["again"]
    assert written["pictures"][1]["boxes"]["noise"] == {"median": 0, "p90": 0, "max": 0}
    assert written["pictures"][-1]["boxes"]["noise"] is None


def test_an_export_of_another_version_is_refused(tmp_path: Path) -> None:
    path = folder(tmp_path / "export", [])
    record = json.loads((path / "export.json").read_text())
    (path / "export.json").write_text(json.dumps({**record, "format": 1}))
    with pytest.raises(CascadeportError, match="another version"):
        verify(Session("fake", lambda inputs: []), "x.onnx", path)
