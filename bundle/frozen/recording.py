"""Writes expected.json when an image is frozen: what the run's device makes of golden pictures."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Tuple

from bundle.errors import BundleError
from bundle.files import write_json
from bundle.frozen.golden import (
    EXPECTED,
    Rows,
    Steps,
    Walk,
    first_lane,
    pictures_path,
    read_picture_entry,
    read_rows,
    rows_difference,
)
from bundle.frozen.layout import FORMAT, Frozen, invalid, read_json
from bundle.job import Job, Picture
from bundle.picture import digest, read_bytes
from bundle.run import check_network_files
from bundle.runners import Runner
from bundle.section import Section

RUN = "run.json"


def record(frozen: Frozen, load: Callable[[Job], Runner]) -> str:
    """Runs the golden pictures and writes expected.json.

    Args:
        frozen: A folder that can be written to, with `golden/run.json` and its pictures.
        load: Loads the networks.

    Returns:
        How what was found agrees with the run: `equal` or `within tolerance`.

    Raises:
        BundleError: A picture is not the run's, or what is found is not what the run found.
    """
    pictures, rows = _read_run(frozen)
    for network in frozen.job.runner.networks:
        check_network_files(network)
    runner = load(first_lane(frozen.job))
    agreement = "equal"
    entries = []
    try:
        walk = Walk(frozen.job, runner)
        for picture, sha256 in pictures:
            path = os.path.join(pictures_path(frozen), picture.file)
            steps = walk.steps(_read_golden(path, sha256), picture, path)
            wanted = [row for row in rows if row.get("image_id") == picture.id]
            if steps.detections != wanted:
                agreement = "within tolerance"
                _check_agreement(steps.detections, wanted, path)
            entries.append(_entry(picture, sha256, steps))
    finally:
        runner.close()
    if not any(entry["detections"] for entry in entries):
        raise BundleError(
            "None of the golden pictures has detections: they would prove nothing.",
            pictures_path(frozen),
            "Choose pictures in which the run has found something.",
        )
    content = {"format": FORMAT, "agreement": agreement, "pictures": entries}
    write_json(os.path.join(pictures_path(frozen), EXPECTED), content)
    return agreement


def _read_run(frozen: Frozen) -> Tuple[List[Tuple[Picture, str]], Rows]:
    path = os.path.join(pictures_path(frozen), RUN)
    data = read_json(path)
    errors: List[str] = []
    top = Section(data, "", errors)
    pictures = [read_picture_entry(one) for one in top.objects("pictures")]
    rows = read_rows(top)
    if not pictures and not errors:
        errors.append("pictures is empty")
    if len({picture.file for picture, _ in pictures}) != len(pictures):
        errors.append("pictures contains a file twice")
    if errors:
        raise invalid(errors, path)
    return pictures, rows


def _read_golden(path: str, sha256: str) -> bytes:
    data = read_bytes(path)
    if digest(data) != sha256:
        raise BundleError(
            "A golden picture is not the run's: its sha256 is {}, not {}.".format(
                digest(data), sha256
            ),
            path,
            "Take the picture from the data set that was evaluated.",
        )
    return data


def _entry(picture: Picture, sha256: str, steps: Steps) -> Dict[str, Any]:
    return {
        "id": picture.id,
        "file": picture.file,
        "width": picture.width,
        "height": picture.height,
        "sha256": sha256,
        "decoded": steps.decoded,
        "input": steps.input,
        "boxes": steps.boxes.tolist(),
        "labels": steps.labels.tolist(),
        "detections": steps.detections,
    }


def _check_agreement(found: Rows, wanted: Rows, path: str) -> None:
    difference = rows_difference(found, wanted)
    if difference:
        raise BundleError(
            "What is found is not what the run found: {}.".format(difference),
            path,
            "Freeze the image, the networks and the settings of one run, on the device of that "
            "run; or run it again.",
        )
