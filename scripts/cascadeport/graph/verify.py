"""Does a lowered graph detect what PyTorch detects? On other pictures than the traced one.

The exporter leaves what mmdet's unchanged inference found in each picture. Here the lowered
graph looks at the same pictures, and every detection is compared: label by label in order, box
by box, score by score. Two detections may change places when PyTorch itself scores them nearly
the same (`ORDER_TOLERANCE`): their order is rounding, not meaning. It is counted all the same.
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

#: Largest difference of a coordinate, in pixels of the network's picture.
BOX_TOLERANCE = 1e-2
#: Largest difference of a score.
SCORE_TOLERANCE = 1e-4
#: Detections whose scores in PyTorch are no further apart may change places.
ORDER_TOLERANCE = 1e-4
#: Pictures other than the traced one that a verification needs, one of them without detections.
MIN_PICTURES = 3

Detections = tuple[NDArray[Any], NDArray[Any]]


@dataclass(frozen=True)
class Session:
    """A lowered graph, loaded on this machine.

    Args:
        runtime: Name and version of what runs it.
        run: Takes inputs of the network, returns boxes (n,5) float32 and labels (n) of each.
    """

    runtime: str
    run: Callable[[Sequence[NDArray[Any]]], list[Detections]]


@dataclass(frozen=True)
class Comparison:
    """One picture: the lowered graph against PyTorch.

    Attributes:
        name: The picture.
        traced: Whether the graph was traced on it (then it proves little).
        expected: Number of PyTorch's detections.
        found: Number of the lowered graph's detections.
        in_order: How many have PyTorch's label at PyTorch's place.
        swapped: How many changed places with one of nearly the same score.
        box_error: Largest difference of a coordinate in pixels, or None if detections differ.
        score_error: Largest difference of a score, likewise.
        passed: Whether all of it is within the thresholds.
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
        passed: Whether every picture passed, and there were enough of them.
        problems: What was wrong, in sentences.
        thresholds: What was required.
        pictures: Each comparison.
        runtime: Name and version of what ran the graph.
    """

    model: str
    passed: bool
    problems: list[str]
    thresholds: dict[str, float]
    pictures: list[Comparison]
    runtime: str

    @property
    def summary(self) -> str:
        """What was compared, and how large the differences are, in a line."""
        others = [each for each in self.pictures if not each.traced]
        empty = sum(each.expected == 0 for each in others)
        box = max((each.box_error or 0.0 for each in self.pictures), default=0.0)
        score = max((each.score_error or 0.0 for each in self.pictures), default=0.0)
        return (
            f"{len(others)} pictures besides the traced one, {empty} of them without detections: "
            f"boxes within {box:.1g} px of PyTorch's, scores within {score:.1g}"
        )

    def write(self, path: Path) -> None:
        """Writes the report as JSON."""
        path.write_text(json.dumps({"format": 1, **asdict(self)}, indent=2) + "\n")

    def require_passed(self) -> None:
        """Raises CascadeportError, with every problem, unless the verification passed."""
        if not self.passed:
            raise CascadeportError(
                "The lowered graph does not detect what PyTorch detects.",
                where=self.model,
                details=self.problems,
                next="Do not use this graph. Export again; if it persists, run with --keep-failed "
                "and report the config and verification.json.",
            )


def verify(session: Session, model: str, export: Path) -> Verification:
    """Compares a lowered float32 graph with PyTorch's detections.

    Args:
        session: The graph.
        model: Its file's name, for the report.
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
    problems = [_problem(each) for each in comparisons if not each.passed]
    others = [each for each in comparisons if not each.traced]
    if len(others) < MIN_PICTURES:
        problems.append(
            f"{len(others)} pictures besides the traced one are too few: {MIN_PICTURES} are needed"
        )
    if not any(each.expected == 0 for each in others):
        problems.append("no picture is without detections: that case has not been tried")
    if not any(each.expected > 0 for each in others):
        problems.append("no picture but the traced one has detections: nothing was compared")
    thresholds = {
        "box_pixels": BOX_TOLERANCE,
        "score": SCORE_TOLERANCE,
        "order_score": ORDER_TOLERANCE,
    }
    return Verification(model, not problems, problems, thresholds, comparisons, session.runtime)


def compare(name: str, traced: bool, expected: Detections, found: Detections) -> Comparison:
    """Compares detections (boxes (n,5), labels (n)); rows of score 0 are padding."""
    (boxes, labels), (other_boxes, other_labels) = _real(*expected), _real(*found)
    common = min(len(labels), len(other_labels))
    in_order = int(np.sum(labels[:common] == other_labels[:common]))
    order = _match((boxes, labels), (other_boxes, other_labels))
    if order is None:
        return Comparison(
            name, traced, len(labels), len(other_labels), in_order, 0, None, None, False
        )
    difference = np.abs(other_boxes - boxes[order])
    box_error = float(difference[:, :4].max(initial=0))
    score_error = float(difference[:, 4].max(initial=0))
    swapped = int(np.sum(order != np.arange(len(order))))
    passed = box_error <= BOX_TOLERANCE and score_error <= SCORE_TOLERANCE
    return Comparison(
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
    """For each found detection, the expected one it is; None when they are not the same ones.

    In order, except that among expected detections of nearly the same score the nearest box of
    the same label is taken.
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


def _problem(each: Comparison) -> str:
    if each.found != each.expected:
        return f"{each.name}: {each.found} detections, PyTorch has {each.expected}"
    if each.box_error is None or each.score_error is None:
        return f"{each.name}: {each.in_order} of {each.expected} labels are PyTorch's, in order"
    return (
        f"{each.name}: boxes differ by up to {each.box_error:.2g} px and scores by up to "
        f"{each.score_error:.2g}; allowed are {BOX_TOLERANCE:g} px and {SCORE_TOLERANCE:g}"
    )
