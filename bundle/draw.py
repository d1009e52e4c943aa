"""Draws boxes on pictures, readable at any size."""

from __future__ import annotations

import os
from typing import Iterable, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

from bundle.files import make_folder, write_errors
from bundle.job import Job, Picture
from bundle.picture import read_picture
from bundle.postprocess import Detections

_GREEN = (80, 200, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
# The boxes that a person would call detections.
_MIN_SCORE = 0.3


def draw_boxes(
    image_bgr: np.ndarray,
    boxes_xyxy: np.ndarray,
    labels: Sequence[str],
    scores: Optional[Union[Sequence[float], np.ndarray]] = None,
    color: Tuple[int, int, int] = _GREEN,
) -> np.ndarray:
    """Draws boxes with their names.

    Lines and letters grow with the picture. Names are written on a background of the boxes'
    colour, above their box, or inside it if there is no room above.

    Args:
        image_bgr: (height, width, 3) uint8. It is not modified.
        boxes_xyxy: (k, 4): x1, y1, x2, y2 in pixels.
        labels: k names. OpenCV's font is ASCII; other characters show as `?`.
        scores: k scores, written after the names.
        color: Blue, green, red.

    Returns:
        A new picture of the same shape.
    """
    canvas: np.ndarray = np.ascontiguousarray(image_bgr).copy()
    height, width = canvas.shape[:2]
    edge = max(height, width)
    limits = (width - 1, height - 1) * 2
    line_width = max(1, int(round(edge / 400.0)))
    scale = max(0.4, edge / 1300.0)
    # The box with the highest score is drawn last, so that it is on top.
    for index in reversed(range(len(boxes_xyxy))):
        x1, y1, x2, y2 = (
            max(0, min(int(round(float(value))), limit))
            for value, limit in zip(boxes_xyxy[index], limits)
        )
        cv2.rectangle(canvas, (x1, y1), (x2, y2), color, line_width)
        text = _ascii(labels[index])
        if scores is not None:
            text += " {:.2f}".format(float(scores[index]))
        _write(canvas, text, x1, y1, scale, line_width, color)
    return canvas


def draw_pictures(job: Job, detected: Iterable[Tuple[Picture, Detections]], out: str) -> None:
    """Writes pictures with their detections to `drawn/<picture id>.jpg` below `out`.

    Raises:
        BundleError: A picture has become unusable, or a file cannot be written.
    """
    folder = os.path.join(out, "drawn")
    for picture, detections in detected:
        make_folder(folder)
        image = read_picture(job.path(picture), picture)
        path = os.path.join(folder, "{}.jpg".format(picture.id))
        with write_errors(path), open(path, "wb") as stream:
            stream.write(draw_detections(image, detections, job))


def draw_detections(image: np.ndarray, detections: Detections, job: Job) -> bytes:
    """A JPEG of a picture with the detections that a person would call such.

    Args:
        image: (height, width, 3) uint8, BGR.
        detections: Its detections.
        job: The job, for the classes' names.
    """
    shown = detections.scores >= _MIN_SCORE
    names = [job.class_names[label] for label in detections.labels[shown]]
    drawn = draw_boxes(image, detections.boxes[shown], names, detections.scores[shown])
    return cv2.imencode(".jpg", drawn)[1].tobytes()


def _write(
    canvas: np.ndarray,
    text: str,
    x: int,
    y: int,
    scale: float,
    line_width: int,
    color: Tuple[int, int, int],
) -> None:
    thickness = max(1, int(round(scale * 1.4)))
    (width, height), baseline = cv2.getTextSize(text, _FONT, scale, thickness)
    margin = thickness + 1
    label_height = height + baseline + 2 * margin
    left = max(0, min(x - line_width // 2, canvas.shape[1] - width - 2 * margin))
    top = y - label_height if y >= label_height else y
    cv2.rectangle(canvas, (left, top), (left + width + 2 * margin, top + label_height), color, -1)
    # Black letters on a light background, white ones on a dark one (luma weights of Rec. 601).
    is_light = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2] > 140
    ink = (0, 0, 0) if is_light else (255, 255, 255)
    origin = (left + margin, top + margin + height)
    cv2.putText(canvas, text, origin, _FONT, scale, ink, thickness, cv2.LINE_AA)


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
