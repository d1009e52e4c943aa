"""drift.json and the drawings of the pictures that differ most, beside the comparison."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from cascadeport import datasets, evaluation
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors, write_bytes, write_json
from cascadeport.datasets import Dataset
from cascadeport.evaluation import Detected
from cascadeport.results.drift import tally
from cascadeport.results.drift.drawing import draw
from cascadeport.results.drift.pairing import Found, differences
from cascadeport.results.drift.record import NAME, Drift, Drifts
from cascadeport.results.result import Result

FOLDER = "drift"
_QUALITY = 82


def update(folder: Path, rows: Sequence[Result], dataset: Dataset | None) -> Drifts:
    """Writes drift.json and `drift/<target>/<picture id>.jpg`, in place of those there were.

    Args:
        folder: results/<model>-<data>.
        rows: The results that can be compared; the first is the one to which others are compared.
        dataset: The data set; None: there is nothing to compare by.
    """
    drawings = folder / FOLDER
    with disk_errors(drawings):
        shutil.rmtree(drawings, ignore_errors=True)
    drifts = []
    if dataset is not None and len(rows) > 1:
        base = _detections(rows[0], dataset)
        for row in rows[1:]:
            drifts.append(_compared(folder, (rows[0], base), row, dataset))
    found = Drifts(drifts=drifts)
    write_json(folder / NAME, found.model_dump(mode="json"))
    return found


def _compared(
    folder: Path, first: tuple[Result, Detected], second: Result, dataset: Dataset
) -> Drift:
    anchor, base = first
    files = {item.id: item.file for item in dataset.items}
    detected = _detections(second, dataset)
    drift = tally.measure((anchor.target, second.target), base, detected, files)
    titles = (anchor.title, second.title)
    drawn = _drawings(folder, second.target, drift, (base, detected), dataset, titles)
    worst = [
        one.model_copy(update={"drawing": drawn[one.id]}) if one.id in drawn else one
        for one in drift.worst
    ]
    return drift.model_copy(update={"worst": worst})


def _drawings(
    folder: Path,
    target: str,
    drift: Drift,
    rows: tuple[Detected, Detected],
    dataset: Dataset,
    titles: tuple[str, str],
) -> Mapping[int, str]:
    """Draws the worst pictures; one that cannot be read any more has no drawing.

    Returns:
        The paths of the drawings below `folder`, by the pictures' ids.
    """
    items = {item.id: item for item in dataset.items}
    names = {category.id: category.name for category in dataset.categories}
    listed = [one.id for one in drift.worst]
    drawn = {}
    for identifier, one, other in tally.pictures(*rows, listed):
        image = _read(dataset.pictures_dir / items[identifier].file)
        if image is None:
            continue
        found = differences(*_confident(one, other), drift.pixels, drift.difference)
        picture = draw(image, found, names, titles)
        path = Path(FOLDER) / target / f"{identifier}.jpg"
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        write_bytes(folder / path, encoded.tobytes())
        drawn[identifier] = path.as_posix()
    return drawn


def _confident(one: Found, other: Found) -> tuple[Found, Found]:
    return one.above(tally.CONFIDENT), other.above(tally.CONFIDENT)


def _read(path: Path) -> np.ndarray | None:
    # As the bundle reads it, with its orientation. What is wrong with it, the pass has said.
    try:
        return cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return None


def _detections(result: Result, dataset: Dataset) -> Detected:
    path = result.file("detections")
    if path is None:
        raise CascadeportError(
            f"The detections of {result.title} are not there any more.",
            where=str(result.folder),
            next="Run the target again.",
        )
    with tempfile.TemporaryDirectory() as temporary:
        annotations = datasets.for_evaluation(dataset, Path(temporary))
        return evaluation.load(annotations, path, [item.id for item in dataset.items]).detected
