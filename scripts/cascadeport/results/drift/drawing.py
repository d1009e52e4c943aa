"""Draws the two rows' detections of one picture side by side, what differs in colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from bundle.draw import draw_boxes
from cascadeport.results.drift.pairing import Difference, Kind

# Blue, green, red. Chosen to be told apart with colour-blind eyes as well (Okabe and Ito's set),
# and every box that differs is labelled with its kind.
COLOURS: Mapping[Kind, tuple[int, int, int]] = {
    "same": (150, 150, 150),
    "moved": (0, 159, 230),
    "class": (167, 121, 204),
    "missing": (0, 94, 213),
    "extra": (178, 114, 0),
}
_GAP = 12
_HEADER = 40
_LONG_EDGE = 640


def draw(
    image_bgr: NDArray[np.uint8],
    found: Iterable[Difference],
    names: Mapping[int, str],
    titles: tuple[str, str],
) -> NDArray[np.uint8]:
    """Draws the detections of the first row on the left, of the second on the right.

    Args:
        image_bgr: The picture (height, width, 3).
        found: The detections of both and in what they differ.
        names: The categories' names, by id.
        titles: The rows' titles.

    Returns:
        A picture in BGR: two of the same height with their titles above, and a legend below.
    """
    listed = list(found)
    scale = min(2.0, _LONG_EDGE / max(image_bgr.shape[:2]))
    height, width = (max(1, round(edge * scale)) for edge in image_bgr.shape[:2])
    resized = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_AREA)
    small = np.asarray(resized, np.uint8)
    halves = [_side(small, listed, names, side, scale) for side in (0, 1)]
    canvas = np.full((height + 2 * _HEADER, 2 * width + _GAP, 3), 255, np.uint8)
    for side, (half, title) in enumerate(zip(halves, titles, strict=True)):
        left = side * (width + _GAP)
        canvas[_HEADER : _HEADER + height, left : left + width] = half
        _text(canvas, title, left + 4, _HEADER - 12, (0, 0, 0), width)
    _legend(canvas, listed, _HEADER + height + 26)
    return canvas


def _side(
    image: NDArray[np.uint8],
    found: Sequence[Difference],
    names: Mapping[int, str],
    side: int,
    scale: float,
) -> NDArray[np.uint8]:
    # Faded, so that the boxes stand out on any picture.
    drawn = cv2.addWeighted(image, 0.6, np.full_like(image, 255), 0.4, 0)
    for kind, colour in COLOURS.items():
        own = [one for one in (_at(each, side) for each in found if each.kind == kind) if one]
        if not own:
            continue
        labels = [names.get(category, str(category)) for _, _, category in own]
        if kind == "same":
            for box, _, _ in own:
                x1, y1, x2, y2 = (round(float(value) * scale) for value in box)
                cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, 1)
            continue
        boxes = np.array([box for box, _, _ in own]) * scale
        drawn = draw_boxes(drawn, boxes, labels, [score for _, score, _ in own], colour)
    return drawn.astype(np.uint8)


def _at(difference: Difference, side: int) -> tuple[NDArray[np.float64], float, int] | None:
    return difference.second if side else difference.first


def _legend(canvas: NDArray[np.uint8], found: Sequence[Difference], y: int) -> None:
    x = 4
    for kind, colour in COLOURS.items():
        count = sum(one.kind == kind for one in found)
        if not count:
            continue
        text = f"{count} {_WORDS[kind]}"
        cv2.rectangle(canvas, (x, y - 12), (x + 14, y + 2), colour, -1)
        x = _text(canvas, text, x + 20, y, (0, 0, 0), canvas.shape[1]) + 18


_WORDS: Mapping[Kind, str] = {
    "same": "alike",
    "moved": "moved",
    "class": "of another class",
    "missing": "only left",
    "extra": "only right",
}


def _text(
    canvas: NDArray[np.uint8], text: str, x: int, y: int, colour: tuple[int, int, int], width: int
) -> int:
    """Writes a line, smaller where it would be wider than `width`; returns where it ends."""
    text = text.encode("ascii", "replace").decode("ascii")
    scale = 0.5
    (length, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    if length > width - 8:
        scale *= (width - 8) / length
        length = width - 8
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return x + length
