"""Compares the detections of a lowered graph with PyTorch's, also on pictures it was not traced on.

The exporter stores what mmdet's unchanged inference detects in each picture. The lowered graph
runs on the same pictures, and every detection is compared: label by label in order, box by box,
score by score. Two detections may be swapped if PyTorch's own scores for them are nearly equal
(`ORDER_TOLERANCE`): then their order is rounding. Swaps are counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json

#: Largest allowed difference of a coordinate, in pixels of the network's input.
BOX_TOLERANCE = 1e-2
#: Largest allowed difference of a score.
SCORE_TOLERANCE = 1e-4
#: Detections whose scores in PyTorch differ by no more than this may be swapped.
ORDER_TOLERANCE = 1e-4
#: Pictures that a verification needs besides the traced one, one of them without detections.
MIN_PICTURES = 3

Detections = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Session:
    """A lowered graph, loaded on this machine.

    Args:
        runtime: Name and version of what runs it.
        run: Takes inputs of the network, returns boxes (n,5) float32 and labels (n) for each.
    """

    runtime: str
    run: Callable[[Sequence[NDArray[Any]]], list[Detections]]


@dataclass(frozen=True)
class PictureComparison:
    """One picture: the lowered graph against PyTorch.

    Attributes:
        name: The picture.
        traced: Whether the graph was traced on it (then it proves little).
        expected: Number of PyTorch's detections.
        found: Number of the lowered graph's detections.
        in_order: How many have PyTorch's label at PyTorch's index.
        swapped: How many are swapped with one of nearly the same score.
        box_error: Largest difference of a coordinate in pixels; None if labels differ.
        score_error: Largest difference of a score, likewise.
        passed: Whether the differences are within the thresholds.
    """

    name: str
    traced: bool
    expected: int
    found: int
    in_order: int
    swapped: int
    box_error: float | None
    score_error: float | None
    passed: bool


@dataclass(frozen=True)
class Verification:
    """The report of one lowering.

    Attributes:
        model: The lowered file's name.
        passed: Whether there were enough pictures and every one passed.
        problems: What was wrong, in sentences.
        thresholds: What was required.
        pictures: One comparison per picture.
        runtime: Name and version of what ran the graph.
    """

    model: str
    passed: bool
    problems: list[str]
    thresholds: dict[str, float]
    pictures: list[PictureComparison]
    runtime: str

    @property
    def summary(self) -> str:
        """What was compared and the largest differences, in one line."""
        others = [picture for picture in self.pictures if not picture.traced]
        empty = sum(picture.expected == 0 for picture in others)
        box = max((picture.box_error or 0.0 for picture in self.pictures), default=0.0)
        score = max((picture.score_error or 0.0 for picture in self.pictures), default=0.0)
        return (
            f"{len(others)} pictures besides the traced one, {empty} of them without detections: "
            f"boxes within {box:.1g} px of PyTorch's, scores within {score:.1g}"
        )

    def write(self, path: Path) -> None:
        """Writes the report as JSON."""
        write_json(path, {"format": 1, **asdict(self)}, indent=2)

    def require_passed(self) -> None:
        """Raises CascadeportError, with every problem, unless the verification passed."""
        if not self.passed:
            raise CascadeportError(
                "The detections of the lowered graph differ from PyTorch's.",
                where=self.model,
                details=self.problems,
                next="Do not use this graph. Export again; if it persists, run with --keep-failed "
                "and report the config and verification.json.",
            )


def verify(session: Session, model: str, export: Path) -> Verification:
    """Compares a lowered float32 graph with PyTorch's detections.

    Args:
        session: The graph.
        model: The name of its file, for the report.
        export: The exporter's folder, with `export.json` and `reference/`.
    """
    pictures = json.loads((export / "export.json").read_text(encoding="utf-8"))["pictures"]
    inputs, expected = [], []
    for picture in pictures:
        with np.load(export / picture["file"]) as stored:
            inputs.append(stored["input"])
            expected.append((stored["boxes"], stored["labels"]))
    comparisons = [
        compare(picture["name"], picture["traced"], wanted, found)
        for picture, wanted, found in zip(pictures, expected, session.run(inputs), strict=True)
    ]
    problems = [_problem(comparison) for comparison in comparisons if not comparison.passed]
    others = [comparison for comparison in comparisons if not comparison.traced]
    if len(others) < MIN_PICTURES:
        problems.append(
            f"{len(others)} pictures besides the traced one are too few: at least {MIN_PICTURES} "
            "are needed"
        )
    if not any(other.expected == 0 for other in others):
        problems.append("no picture is without detections: that case is untested")
    if not any(other.expected > 0 for other in others):
        problems.append("no picture but the traced one has detections: nothing was compared")
    thresholds = {
        "box_pixels": BOX_TOLERANCE,
        "score": SCORE_TOLERANCE,
        "order_score": ORDER_TOLERANCE,
    }
    return Verification(model, not problems, problems, thresholds, comparisons, session.runtime)


def compare(name: str, traced: bool, expected: Detections, found: Detections) -> PictureComparison:
    """Compares detections (boxes (n,5), labels (n)); rows of score 0 are padding."""
    (boxes, labels), (other_boxes, other_labels) = _real(*expected), _real(*found)
    common = min(len(labels), len(other_labels))
    in_order = int(np.sum(labels[:common] == other_labels[:common]))
    order = _match((boxes, labels), (other_boxes, other_labels))
    if order is None:
        return PictureComparison(
            name, traced, len(labels), len(other_labels), in_order, 0, None, None, False
        )
    difference = np.abs(other_boxes - boxes[order])
    box_error = float(difference[:, :4].max(initial=0))
    score_error = float(difference[:, 4].max(initial=0))
    swapped = int(np.sum(order != np.arange(len(order))))
    passed = box_error <= BOX_TOLERANCE and score_error <= SCORE_TOLERANCE
    return PictureComparison(
        name,
        traced,
        len(labels),
        len(other_labels),
        in_order,
        swapped,
        box_error,
        score_error,
        bool(passed and np.isfinite(other_boxes).all()),
    )


def _real(boxes: NDArray[Any], labels: NDArray[Any]) -> Detections:
    real = boxes[:, 4] != 0
    return boxes[real], np.asarray(labels).reshape(-1)[real]


def _match(expected: Detections, found: Detections) -> NDArray[np.int64] | None:
    """The index of the expected detection for each found one; None if they do not match.

    In order, except that among expected detections of nearly the same score the nearest box of
    the same label matches.
    """
    (boxes, labels), (other_boxes, other_labels) = expected, found
    if len(labels) != len(other_labels):
        return None
    free = np.ones(len(labels), dtype=bool)
    order = np.zeros(len(labels), dtype=np.int64)
    for index, (box, label) in enumerate(zip(other_boxes, other_labels, strict=True)):
        near = np.abs(boxes[:, 4] - boxes[index, 4]) <= ORDER_TOLERANCE
        candidates = np.flatnonzero(free & near & (labels == label))
        if not len(candidates):
            return None
        distance = np.abs(boxes[candidates, :4] - box[:4]).max(axis=1)
        order[index] = candidates[np.argmin(distance)]
        free[order[index]] = False
    return order


def _problem(comparison: PictureComparison) -> str:
    if comparison.found != comparison.expected:
        return (
            f"{comparison.name}: {comparison.found} detections, PyTorch has {comparison.expected}"
        )
    if comparison.box_error is None or comparison.score_error is None:
        return (
            f"{comparison.name}: {comparison.in_order} of {comparison.expected} labels equal "
            "PyTorch's, in order"
        )
    return (
        f"{comparison.name}: boxes differ by up to {comparison.box_error:.2g} px and scores by "
        f"up to {comparison.score_error:.2g}; the limits are {BOX_TOLERANCE:g} px and "
        f"{SCORE_TOLERANCE:g}"
    )
