"""Golden pictures: some of the run's, with what it found in them, for the image's self-test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.base.reading import read_record
from cascadeport.datasets import Dataset
from cascadeport.pipeline import pictures
from cascadeport.pipeline.stages.evaluate import DETECTIONS

_MOST = 4
_AT_LEAST = 2
_AGAIN = "Run the target again."


def write(infer: Path, dataset: Dataset, folder: Path) -> None:
    """Copies golden pictures into a folder, and writes run.json beside them.

    Chosen are, by id, those that show something new: another shape of the network, or the first
    with and the first without detections; and then the next ones.

    Args:
        infer: The pass.
        dataset: What it read.
        folder: Receives the pictures; it does not exist yet.

    Raises:
        CascadeportError: A picture is not what the pass read, or nothing was detected at all.
    """
    detections = _detections(infer)
    items = {item["id"]: item for item in _job(infer)["pictures"]["items"]}
    digests = pictures.read(infer)
    found = {row["image_id"] for row in detections}
    if not found:
        raise CascadeportError(
            "The run detected nothing at all: there is no picture to test an image with.",
            where=str(infer / DETECTIONS),
            next="Run it on pictures that show something, or look at why it finds nothing.",
        )
    ids = chosen(_shapes(infer), found)
    folder.mkdir(parents=True)
    rows = []
    for number in ids:
        item = items[number]
        source = dataset.pictures_dir / item["file"]
        name = PurePosixPath(item["file"]).name
        if (folder / name).exists():
            name = f"{number}-{name}"
        shutil.copyfile(source, folder / name)
        if digest.of_file(folder / name) != digests[number]:
            raise CascadeportError(
                "A picture is not what it was when the run read it.", where=str(source), next=_AGAIN
            )
        rows.append({**item, "file": name, "sha256": digests[number]})
    write_json(
        folder / "run.json",
        {
            "format": 1,
            "pictures": rows,
            "detections": [row for row in detections if row["image_id"] in set(ids)],
        },
    )


def chosen(shapes: Mapping[int, tuple[int, int]], found: set[int]) -> list[int]:
    """The ids of the pictures to take.

    Args:
        shapes: The network's shape for every picture, by id.
        found: The pictures in which something was detected.
    """
    seen: set[tuple[tuple[int, int], bool]] = set()
    telling: list[int] = []
    others: list[int] = []
    for number in sorted(shapes):
        kind = (shapes[number], number in found)
        (others if kind in seen else telling).append(number)
        seen.add(kind)
    # With detections first, of each shape: the most telling ones stay if there are too many.
    telling.sort(key=lambda number: (number not in found, number))
    return sorted([*telling, *others[: max(0, _AT_LEAST - len(telling))]][:_MOST])


def _shapes(infer: Path) -> dict[int, tuple[int, int]]:
    """The shape of the network that every picture went to, by id."""
    path = infer / "geometry.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {int(row["id"]): (row["input_height"], row["input_width"]) for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CascadeportError(
            "The geometry of the run's pictures cannot be read.", where=str(path), next=_AGAIN
        ) from error


def _detections(infer: Path) -> Sequence[Mapping[str, Any]]:
    path = infer / DETECTIONS
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CascadeportError(
            "The run's detections cannot be read.", where=str(path), next=_AGAIN
        ) from error
    return found


def _job(infer: Path) -> dict[str, Any]:
    return dict(read_record(infer / "job.json", "job", next=_AGAIN))
