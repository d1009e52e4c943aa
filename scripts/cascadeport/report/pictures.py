"""Chooses pictures for the report and makes them small enough to embed."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cascadeport.evaluation import Marked

MOST = 12
# The most bytes of an embedded picture, and (longest edge, JPEG quality) to try until it fits.
_BYTES = 90_000
_STEPS = ((720, 82), (640, 78), (560, 72), (480, 68), (360, 60))


@dataclass(frozen=True)
class Count:
    """The number of right and wrong detections and of missed objects in a picture."""

    right: int
    wrong: int
    missed: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 where there are no objects and no detections."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 1.0


@dataclass(frozen=True)
class Choice:
    """A chosen picture and why it was chosen."""

    image_id: int
    why: str


def count(marked: Iterable[Marked]) -> Count:
    """Counts right and wrong detections and missed objects."""
    verdicts = [one.verdict for one in marked]
    return Count(*(verdicts.count(verdict) for verdict in ("right", "wrong", "missed")))


def choose(diagnoses: Sequence[Mapping[int, Sequence[Marked]]], most: int = MOST) -> list[Choice]:
    """Chooses the best and worst pictures of the first target, and those where targets differ.

    Args:
        diagnoses: For every target, the result of `evaluation.diagnose`.
        most: The number of pictures to choose.
    """
    if not diagnoses:
        return []
    first = {number: count(marked) for number, marked in diagnoses[0].items()}
    others = [{key: count(marked) for key, marked in one.items()} for one in diagnoses[1:]]

    def differs(number: int) -> float:
        return max((abs(one[number].f1 - first[number].f1) for one in others), default=0.0)

    middle = float(np.median([one.f1 for one in first.values()])) if first else 0.0

    # The rankings take turns to give one picture, until there are enough.
    busy = [number for number in first if first[number].right + first[number].missed > 0]
    rankings = [
        ("among the best", sorted(busy, key=lambda n: (-first[n].f1, -first[n].right, n))),
        ("among the worst", sorted(busy, key=lambda n: (first[n].f1, -first[n].missed, n))),
        (
            "most false alarms",
            sorted((n for n in first if first[n].wrong), key=lambda n: (-first[n].wrong, n)),
        ),
        (
            "most missed",
            sorted((n for n in first if first[n].missed), key=lambda n: (-first[n].missed, n)),
        ),
        (
            "targets differ",
            sorted((n for n in first if differs(n) > 0), key=lambda n: (-differs(n), n)),
        ),
        ("typical", sorted(busy, key=lambda n: (abs(first[n].f1 - middle), n))),
        ("nothing to find", sorted(n for n in first if n not in busy)),
    ]
    return _take_turns(rankings, most)


def _take_turns(rankings: Sequence[tuple[str, list[int]]], most: int) -> list[Choice]:
    chosen: dict[int, Choice] = {}
    queues = [(why, iter(ranking)) for why, ranking in rankings]
    while queues and len(chosen) < most:
        left = []
        for why, queue in queues:
            number = next((n for n in queue if n not in chosen), None)
            if number is None:
                continue
            left.append((why, queue))
            if len(chosen) < most:
                chosen[number] = Choice(number, why)
        queues = left
    order = [why for why, _ in rankings]
    return sorted(chosen.values(), key=lambda choice: order.index(choice.why))


def embed(path: Path, width: int, height: int) -> str | None:
    """A picture as the data URL of a small JPEG.

    Returns:
        None if the picture cannot be read or does not have the annotated size; the run has listed
        it with the reason.
    """
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        # Like the bundle, this applies the EXIF orientation.
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error):
        return None
    if image is None or image.shape[:2] != (height, width):
        return None
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(image)).decode('ascii')}"


def _jpeg(image: npt.NDArray[np.integer | np.floating]) -> bytes:
    height, width = image.shape[:2]
    content = b""
    for edge, quality in _STEPS:
        scale = min(1.0, edge / max(width, height))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        content = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) <= _BYTES:
            break
    return content
