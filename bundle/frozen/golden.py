"""The golden pictures: what the run found in them, and every step on the way there."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from bundle.frozen.layout import Frozen, invalid, read_json
from bundle.geometry import PictureGeometry, fit
from bundle.job import Job, Picture
from bundle.picture import decode
from bundle.postprocess import check_outputs, coco_rows, locate
from bundle.preprocess import Canvas, Preprocessor
from bundle.runners import Runner
from bundle.section import Section

FOLDER, EXPECTED = "golden", "expected.json"
# Another processor adds up in another order, and its results differ in the last digits. A wrong
# kernel is off by far more.
BOX_TOLERANCE = 0.1
SCORE_TOLERANCE = 0.001
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")

Rows = List[Dict[str, Any]]


class Steps(NamedTuple):
    """What every step made of a picture.

    Args:
        decoded: The sha256 of its pixels.
        input: The sha256 of the network's input, its shape and type.
        boxes: (n, 5) float32, the network's, without rows of score 0.
        labels: (n,) int64.
        detections: COCO rows.
    """

    decoded: str
    input: str
    boxes: np.ndarray
    labels: np.ndarray
    detections: Rows


class Golden(NamedTuple):
    """A golden picture, the digest of its file, and what every step is expected to make of it."""

    picture: Picture
    sha256: str
    steps: Steps


def read_expected(frozen: Frozen) -> List[Golden]:
    """Reads and checks expected.json.

    Raises:
        BundleError: It cannot be read, or is invalid: all errors are listed.
    """
    path = os.path.join(frozen.folder, FOLDER, EXPECTED)
    data = read_json(path)
    errors: List[str] = []
    found = [_expected(one, frozen.job) for one in Section(data, "", errors).objects("pictures")]
    if not found and not errors:
        errors.append("pictures is empty")
    if errors:
        raise invalid(errors, path)
    return found


def _expected(section: Section, job: Job) -> Golden:
    picture, sha256 = read_picture_entry(section)
    boxes = section.optional("boxes", None)
    labels = section.optional("labels", None)
    if not _is_table(boxes, 5, (int, float)):
        section.errors.append("{}: boxes is not a list of 5 numbers each".format(picture.file))
        boxes = []
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        section.errors.append("{}: labels is not a list of integers".format(picture.file))
        labels = []
    steps = Steps(
        section.text("decoded"),
        section.text("input"),
        np.array(boxes, np.float32).reshape(-1, 5),
        np.array(labels, np.int64),
        read_rows(section),
    )
    return Golden(picture, sha256, steps)


def read_picture_entry(section: Section) -> Tuple[Picture, str]:
    """A picture and the digest of its file."""
    picture = Picture(
        section.integer("id", 0),
        section.text("file"),
        section.integer("width", 1),
        section.integer("height", 1),
    )
    if os.path.basename(picture.file) != picture.file or picture.file in ("", ".", ".."):
        section.errors.append("{!r} is not the name of a file".format(picture.file))
    sha256 = section.text("sha256")
    if not _SHA256.match(sha256):
        section.errors.append("{}: sha256 is not one".format(picture.file))
    return picture, sha256


def read_rows(section: Section) -> Rows:
    """COCO rows, as they are: they are only compared."""
    section.objects("detections")
    return list(section.optional("detections", []))


def _is_table(value: Any, columns: int, kinds: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) == columns and all(isinstance(x, kinds) for x in row)
        for row in value
    )


def pictures_path(frozen: Frozen) -> str:
    """The folder of the golden pictures."""
    return os.path.join(frozen.folder, FOLDER)


class Walk:
    """Takes pictures through every step, one at a time, and keeps what each step made.

    Args:
        job: The job.
        runner: The loaded network.
        canvas: The memory for its input, if there is some already.
    """

    def __init__(self, job: Job, runner: Runner, canvas: Optional[Canvas] = None) -> None:
        self._job = job
        self._runner = runner
        self._preprocessor = Preprocessor(job.preprocess)
        self._canvas = canvas or Canvas(job.preprocess)

    def steps(self, data: bytes, picture: Picture, path: str) -> Steps:
        """What every step makes of a picture.

        Raises:
            BundleError: A step fails.
        """
        image = decode(data, picture, path)
        decoded = hashlib.sha256(np.ascontiguousarray(image)).hexdigest()
        geometry = fit(picture, self._job.preprocess)
        self._preprocessor.prepare(image, geometry, self._canvas)
        array = self._canvas.array
        found = "{} {} {}".format(
            hashlib.sha256(np.ascontiguousarray(array)).hexdigest(), array.shape, array.dtype
        )
        boxes, labels = self._runner.run(array)[:2]
        check_outputs(boxes, labels, self._job, "picture {}".format(path))
        used = boxes[:, 4] > 0
        boxes, labels = boxes[used], labels[used].astype(np.int64)
        rows = detections_of(boxes, labels, geometry, picture, self._job)
        return Steps(decoded, found, boxes, labels, rows)


def detections_of(
    boxes: np.ndarray, labels: np.ndarray, geometry: PictureGeometry, picture: Picture, job: Job
) -> Rows:
    """COCO rows of a network's outputs."""
    return coco_rows(locate(boxes, labels, geometry, job), picture.id, job)


def device_problems(frozen: Frozen, runner: Runner) -> List[str]:
    """A sentence for each reason why this device is not the one that was frozen.

    Args:
        frozen: The frozen folder.
        runner: The loaded network, after its first picture.
    """
    description = runner.describe()
    problems = [str(one) for one in description.get("problems", [])]
    labelled = any(label.name == "simulated" for label in frozen.labels)
    if description.get("simulated") and not labelled:
        problems.append("The network runs on a stand-in, but the image is not labelled as such.")
    return problems


def first_lane(job: Job) -> Job:
    """The job on the first of its devices."""
    return replace(job, runner=job.runner.lanes[0])


def rows_difference(found: Rows, wanted: Rows) -> Optional[str]:
    """How COCO rows differ by more than the tolerance; None if they do not."""
    try:
        return tables_difference(_table(found), _table(wanted))
    except (KeyError, TypeError, ValueError):
        return "the rows are not COCO's"


def _table(rows: Rows) -> Tuple[np.ndarray, np.ndarray]:
    """COCO rows as (n, 5) corners and scores, and (n,) categories."""
    boxes = np.array([row["bbox"] + [row["score"]] for row in rows], np.float64).reshape(-1, 5)
    boxes[:, 2:4] += boxes[:, :2]
    return boxes, np.array([row["category_id"] for row in rows], np.int64)


def tables_difference(
    found: Tuple[np.ndarray, np.ndarray], wanted: Tuple[np.ndarray, np.ndarray]
) -> Optional[str]:
    """How boxes and labels differ by more than the tolerance; None if they do not.

    Rows may have changed places with others of nearly the same score, so each is compared with
    the nearest of the other side that has its label and is not taken.
    """
    if len(found[0]) != len(wanted[0]):
        return "{} detections, not {}".format(len(found[0]), len(wanted[0]))
    limits = np.array([BOX_TOLERANCE] * 4 + [SCORE_TOLERANCE])
    free = np.ones(len(found[0]), bool)
    for row, label in zip(*wanted):
        off = (np.abs(found[0] - row) / limits).max(axis=1)
        off[~free | (found[1] != label)] = np.inf
        best = int(np.argmin(off))
        if not off[best] <= 1:
            return "no detection of class {} with score {:.4f} at {}".format(
                label, row[4], [round(float(value), 2) for value in row[:4]]
            )
        free[best] = False
    return None
