"""Compares the detections of a lowered graph with PyTorch's, also on pictures it was not traced on.

The exporter stores, for a few pictures, what mmdet's unchanged inference detects, and what it
detects when only rounding differs. The lowered graph runs on the same pictures; comparison.py
judges each of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.graph.comparison import (
    BOX_FLOOR,
    FACTOR,
    SCORE_FLOOR,
    STRAY,
    STRAY_FACTOR,
    Cuts,
    PictureComparison,
    Spread,
    compare,
    problem,
    strays,
)
from cascadeport.graph.matching import OVERLAP, Detections

#: Pictures that a verification needs besides the traced one, one of them without detections.
MIN_PICTURES = 3
#: The format of export.json that is read here (images/export/exporter).
EXPORT_FORMAT = 2
#: Pictures of a verification, at each shape, that may lack, add or move a detection for no
#: visible reason.
MAX_STRAY_PICTURES = 1


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
class Verification:
    """The report of one lowering.

    Attributes:
        model: The lowered file's name.
        passed: Whether there were enough pictures and every one passed.
        problems: What was wrong, in sentences.
        thresholds: What was required.
        noise: How PyTorch's noise was measured, a name per run.
        pictures: One comparison per picture.
        runtime: Name and version of what ran the graph.
    """

    model: str
    passed: bool
    problems: list[str]
    thresholds: dict[str, Any]
    noise: list[str]
    pictures: list[PictureComparison]
    runtime: str

    @property
    def summary(self) -> str:
        """What was compared and the largest differences, in one line."""
        others = [picture for picture in self.pictures if not picture.traced]
        empty = sum(picture.expected == 0 for picture in others)
        boxes = [picture.boxes for picture in self.pictures]
        largest = max((each.error.max for each in boxes), default=0.0)
        score = max((picture.scores.error.max for picture in self.pictures), default=0.0)
        text = (
            f"{len(others)} pictures besides the traced one, {empty} of them without detections: "
            f"boxes within {largest:.1g} px of PyTorch's, scores within {score:.1g}"
        )
        noise = max((each.noise.max for each in boxes if each.noise), default=None)
        if noise is None:
            return text
        middle = max((each.ratio[0] or 0.0 for each in boxes), default=0.0)
        return (
            f"{text}; PyTorch within {noise:.1g} px of itself; "
            f"medians at most {middle:.1f} times PyTorch's own"
        )

    @property
    def lines(self) -> Iterator[str]:
        """Noise, error and their ratio of every picture with detections, a line each."""
        for picture in self.pictures:
            if picture.boxes.noise is not None:
                yield "; ".join(
                    [
                        f"{picture.name}: PyTorch {_numbers(picture.boxes.noise)} px from itself, "
                        f"the graph {_numbers(picture.boxes.error)} px from PyTorch, "
                        f"{' '.join(_times(each) for each in picture.boxes.ratio)} "
                        "(median, p90, max)",
                        *strays(picture),
                        *(
                            [f"exchanges {picture.exchanged} where PyTorch does too"]
                            if picture.exchanged
                            else []
                        ),
                    ]
                )

    def write(self, path: Path) -> None:
        """Writes the report as JSON."""
        write_json(path, {"format": 2, **asdict(self)}, indent=2)

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


def reference_shapes(export: Path) -> list[tuple[int, int]]:
    """The shapes (rows, columns) at which an export has pictures, the traced one first."""
    return list(
        dict.fromkeys(
            _shape(one, record) for record in [_record(export)] for one in record["pictures"]
        )
    )


def verify(
    session: Session, model: str, export: Path, shape: tuple[int, int] | None = None
) -> Verification:
    """Compares a lowered float32 graph with PyTorch's detections.

    Args:
        session: The graph.
        model: The name of its file, for the report.
        export: The exporter's folder, with `export.json` and `reference/`.
        shape: Of the graph's input; None: it takes every shape, and is compared at each that the
            export has pictures of.
    """
    record = _record(export)
    pictures, names = record["pictures"], record["noise"]
    if shape is not None:
        pictures = [one for one in pictures if _shape(one, record) == shape]
    cuts = Cuts(record["cuts"]["score"], record["cuts"]["count"])
    inputs, expected, noise = [], [], []
    for picture in pictures:
        with np.load(export / picture["file"]) as stored:
            inputs.append(stored["input"])
            expected.append((stored["boxes"], stored["labels"]))
            noise.append(
                [
                    (stored[f"noise{index}_boxes"], stored[f"noise{index}_labels"])
                    for index in range(len(names))
                    if f"noise{index}_boxes" in stored
                ]
            )
    comparisons = [
        compare(picture["name"], picture["traced"], wanted, found, runs, cuts)
        for picture, wanted, found, runs in zip(
            pictures, expected, _run(session, inputs), noise, strict=True
        )
    ]
    problems = [problem(comparison) for comparison in comparisons if not comparison.passed]
    stray = [one for one in comparisons if one.passed and one.is_stray]
    if len(stray) > MAX_STRAY_PICTURES * len({_shape(one, record) for one in pictures}):
        problems += [f"{problem(one)}; too many pictures do" for one in stray]
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
        "overlap": OVERLAP,
        "stray": STRAY,
        "times_own_strays": STRAY_FACTOR,
        "times_noise": asdict(FACTOR),
        "box_pixels_at_least": asdict(BOX_FLOOR),
        "score_at_least": asdict(SCORE_FLOOR),
        "cuts": asdict(cuts),
    }
    return Verification(
        model, not problems, problems, thresholds, names, comparisons, session.runtime
    )


def _record(export: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((export / "export.json").read_text(encoding="utf-8"))
    if record.get("format") != EXPORT_FORMAT:
        raise CascadeportError(
            "The export was made by another version of this program.",
            where=str(export / "export.json"),
            next="Export again: remove this folder and run the same command.",
        )
    return record


def _shape(picture: dict[str, Any], record: dict[str, Any]) -> tuple[int, int]:
    """A picture's; exports before there were several have only that of the input."""
    height, width = picture.get("shape") or record.get("input", {}).get("shape", (0,) * 4)[2:]
    return int(height), int(width)


def _run(session: Session, inputs: Sequence[NDArray[Any]]) -> list[Detections]:
    """Runs inputs of one shape at a time: what loads the graph may have to know the shape."""
    found: dict[int, Detections] = {}
    for shape in dict.fromkeys(one.shape for one in inputs):
        numbers = [number for number, one in enumerate(inputs) if one.shape == shape]
        together = session.run([inputs[number] for number in numbers])
        found.update(zip(numbers, together, strict=True))
    return [found[number] for number in range(len(inputs))]


def _numbers(spread: Spread) -> str:
    return " ".join(f"{value:.1e}" for value in spread)


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1f}x"
