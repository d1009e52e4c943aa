"""Boxes on pictures, readable at any size."""

from __future__ import annotations

import os
from typing import Iterable, Optional, Sequence, Tuple

import cv2
import numpy as np

from bundle.files import make_folder, write_errors
from bundle.job import Job, Picture
from bundle.picture import read_picture
from bundle.postprocess import Detections

_GREEN = (80, 200, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Drawn are boxes that a person would call found.
_LEAST_SCORE = 0.3


def draw_boxes(
    image_bgr: np.ndarray,
    boxes_xyxy: np.ndarray,
    labels: Sequence[str],
    scores: Optional[Sequence[float]] = None,
    color: Tuple[int, int, int] = _GREEN,
) -> np.ndarray:
    """Draws boxes with their names.

    Lines and letters grow with the picture; letters stand on a ground of the boxes' colour, above
    their box, or inside it where there is no room above.

    Args:
        image_bgr: (height, width, 3) uint8. It is not changed.
        boxes_xyxy: (k, 4): x1, y1, x2, y2 in pixels.
        labels: k names. OpenCV's letters are ASCII; others show as `?`.
        scores: k scores, written behind the names.
        color: Blue, green, red.

    Returns:
        A new picture.
    """
    canvas = np.ascontiguousarray(image_bgr).copy()
    height, width = canvas.shape[:2]
    edge = max(height, width)
    limits = (width - 1, height - 1) * 2
    line = max(1, int(round(edge / 400.0)))
    scale = max(0.4, edge / 1300.0)
    # The most certain box comes last, so that it lies on top.
    for index in reversed(range(len(boxes_xyxy))):
        x1, y1, x2, y2 = (
            max(0, min(int(round(float(value))), limit))
            for value, limit in zip(boxes_xyxy[index], limits)
        )
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, line)
        text = _ascii(labels[index])
        if scores is not None:
            text += " {:.2f}".format(float(scores[index]))
        _write(canvas, text, x1, y1, scale, line, color)
    return canvas


def draw_pictures(job: Job, found: Iterable[Tuple[Picture, Detections]], out: str) -> None:
    """Writes `drawn/<picture id>.jpg` below `out`: the pictures with what was found in them."""
    folder = os.path.join(out, "drawn")
    for picture, detections in found:
        make_folder(folder)
        image = read_picture(job.path(picture), picture)
        seen = detections.scores >= _LEAST_SCORE
        names = [job.class_names[label] for label in detections.labels[seen]]
        drawn = draw_boxes(image, detections.boxes[seen], names, detections.scores[seen])
        path = os.path.join(folder, "{}.jpg".format(picture.id))
        with write_errors(path), open(path, "wb") as stream:
            stream.write(cv2.imencode(".jpg", drawn)[1].tobytes())


def _write(
    canvas: np.ndarray,
    text: str,
    x: int,
    y: int,
    scale: float,
    line: int,
    color: Tuple[int, int, int],
) -> None:
    thickness = max(1, int(round(scale * 1.4)))
    (width, height), below = cv2.getTextSize(text, _FONT, scale, thickness)
    margin = thickness + 1
    tall = height + below + 2 * margin
    left = max(0, min(x - line // 2, canvas.shape[1] - width - 2 * margin))
    top = y - tall if y >= tall else y
    cv2.rectangle(canvas, (left, top), (left + width + 2 * margin, top + tall), color, -1)
    # Dark letters on a light ground, light ones on a dark ground (weights of Rec. 601).
    light = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 140
    ink = (0, 0, 0) if light else (255, 255, 255)
    origin = (left + margin, top + margin + height)
    cv2.putText(canvas, text, origin, _FONT, scale, ink, thickness, cv2.LINE_AA)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
