"""From the network's outputs to boxes in the picture, by the written geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List

import numpy as np

from bundle.errors import BundleError
from bundle.geometry import Geometry
from bundle.job import Job

# Far below what float32 resolves in the network's frame; it keeps the file a third shorter.
_DECIMALS = 4


@dataclass(frozen=True)
class Detections:
    """What was found in one picture, by falling score.

    Args:
        boxes: (k, 4) float64: x1, y1, x2, y2 in pixels of the picture.
        scores: (k,) float32.
        labels: (k,) int64: class indices.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


def check_outputs(boxes: np.ndarray, labels: np.ndarray, job: Job, where: str) -> None:
    """Holds a network's outputs against the contract.

    Args:
        boxes: (n, 5) float32: x1, y1, x2, y2, score in network pixels.
        labels: (n,) int32 or int64. Rows of score 0 are padding and may hold anything finite.
        job: The job.
        where: The picture, for error messages.

    Raises:
        BundleError: Type, shape or values break the contract.
    """
    names = "'{}' and '{}'".format(job.runner.boxes, job.runner.labels)
    if boxes.ndim != 2 or boxes.shape[1] != 5 or boxes.dtype != np.float32:
        raise _broken(job, job.runner.boxes, "is {}, not float32 (n,5)".format(_kind(boxes)), where)
    if labels.ndim != 1 or labels.dtype not in (np.int32, np.int64):
        raise _broken(job, job.runner.labels, "is {}, not int64 (n,)".format(_kind(labels)), where)
    if len(boxes) != len(labels):
        fault = "have {} and {} rows".format(len(boxes), len(labels))
        raise BundleError("The outputs {} {}.".format(names, fault), where, _advice(job))
    if not np.isfinite(boxes).all():
        kind = "NaN" if np.isnan(boxes).any() else "infinity"
        raise _broken(job, job.runner.boxes, "holds {}".format(kind), where)
    used = labels[boxes[:, 4] > 0]
    wrong = used[(used < 0) | (used >= len(job.category_ids))]
    if len(wrong):
        fault = "holds class {}, but there are {} classes".format(wrong[0], len(job.category_ids))
        raise _broken(job, job.runner.labels, fault, where)


def locate(boxes: np.ndarray, labels: np.ndarray, geometry: Geometry, job: Job) -> Detections:
    """Brings outputs that obey the contract back into the picture.

    Boxes are moved and scaled by the written geometry and clipped to the picture; those without
    area are dropped, as are scores below the threshold; the best `max_detections` are kept.
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
    """The detections as COCO results: `bbox` is x, y, width, height."""
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


def _kind(array: np.ndarray) -> str:
    return "{} {}".format(array.dtype, "({})".format(",".join(map(str, array.shape))))


def _broken(job: Job, output: str, fault: str, where: str) -> BundleError:
    what = "The network breaks the contract: output '{}' {}.".format(output, fault)
    return BundleError(what, where, _advice(job))


def _advice(job: Job) -> str:
    return "Check the network ({}), its export and the number of classes in its card.".format(
        job.runner.files
    )
