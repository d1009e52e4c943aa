"""From the network's outputs to boxes in the picture, using the written geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List

import numpy as np

from bundle.errors import BundleError
from bundle.geometry import PictureGeometry
from bundle.job import Job

# Far finer than float32 resolves network pixels, and the file becomes a third smaller.
_DECIMALS = 4


@dataclass(frozen=True)
class Detections:
    """The detections in one picture, by descending score.

    Args:
        boxes: (k, 4) float64: x1, y1, x2, y2 in picture pixels.
        scores: (k,) float32.
        labels: (k,) int64: class indices.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def check_outputs(boxes: np.ndarray, labels: np.ndarray, job: Job, where: str) -> None:
    """Checks a network's outputs against the contract.

    Args:
        boxes: (n, 5) float32: x1, y1, x2, y2, score in network pixels.
        labels: (n,) int32 or int64. Rows of score 0 are padding, with any finite values.
        job: The job.
        where: What error messages call the picture.

    Raises:
        BundleError: Type, shape or values violate the contract.
    """
    names = "'{}' and '{}'".format(job.runner.boxes, job.runner.labels)
    if boxes.ndim != 2 or boxes.shape[1] != 5 or boxes.dtype != np.float32:
        raise _violation(
            job, job.runner.boxes, "is {}, not float32 (n,5)".format(_format(boxes)), where
        )
    if labels.ndim != 1 or labels.dtype not in (np.int32, np.int64):
        raise _violation(
            job, job.runner.labels, "is {}, not int64 (n,)".format(_format(labels)), where
        )
    if len(boxes) != len(labels):
        text = "The outputs {} have {} and {} rows.".format(names, len(boxes), len(labels))
        raise BundleError(text, where, _advice(job))
    if not np.isfinite(boxes).all():
        value = "NaN" if np.isnan(boxes).any() else "infinity"
        raise _violation(job, job.runner.boxes, "contains {}".format(value), where)
    used = labels[boxes[:, 4] > 0]
    invalid = used[(used < 0) | (used >= len(job.category_ids))]
    if len(invalid):
        count = len(job.category_ids)
        text = "contains class {}, but there are {} classes".format(invalid[0], count)
        raise _violation(job, job.runner.labels, text, where)


def locate(
    boxes: np.ndarray, labels: np.ndarray, geometry: PictureGeometry, job: Job
) -> Detections:
    """Maps the outputs for one picture back into it. They must have passed `check_outputs`.

    Boxes are moved and scaled by the written geometry and clipped to the picture. Those without
    an area or with a score below the threshold are dropped, and of the others the best
    `max_detections` are kept.
    """
    keep = (boxes[:, 4] >= np.float32(job.score_threshold)) & (boxes[:, 4] > 0)
    scores, labels = boxes[keep, 4], labels[keep].astype(np.int64)
    corners = boxes[keep, :4].astype(np.float64)
    corners[:, 0::2] = ((corners[:, 0::2] - geometry.left) / geometry.scale_x).clip(
        0, geometry.width
    )
    corners[:, 1::2] = ((corners[:, 1::2] - geometry.top) / geometry.scale_y).clip(
        0, geometry.height
    )
    area = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
    corners, scores, labels = corners[area], scores[area], labels[area]
    best = np.argsort(-scores, kind="stable")[: job.max_detections]
    return Detections(corners[best], scores[best], labels[best])


def coco_rows(detections: Detections, image_id: int, job: Job) -> List[Dict[str, object]]:
    """The detections as COCO results: `bbox` is x, y, width, height in picture pixels."""
    boxes = detections.boxes.round(_DECIMALS)
    sizes = (detections.boxes[:, 2:] - detections.boxes[:, :2]).round(_DECIMALS)
    return [
        {
            "image_id": image_id,
            "category_id": job.category_ids[label],
            "bbox": corner + size,
            "score": score,
        }
        for corner, size, label, score in zip(
            boxes[:, :2].tolist(),
            sizes.tolist(),
            detections.labels.tolist(),
            detections.scores.tolist(),
        )
    ]


def _format(array: np.ndarray) -> str:
    return "{} {}".format(array.dtype, "({})".format(",".join(map(str, array.shape))))


def _violation(job: Job, output: str, text: str, where: str) -> BundleError:
    what = "The network violates the contract: output '{}' {}.".format(output, text)
    return BundleError(what, where, _advice(job))


def _advice(job: Job) -> str:
    return "Check the network ({}), its export and the number of classes in its card.".format(
        job.runner.files
    )
