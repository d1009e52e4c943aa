"""The accuracies of detections over draws of pictures, computed once for each file."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

from cascadeport import datasets, evaluation
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import RECORD_LIMIT, read_bytes
from cascadeport.datasets import Dataset
from cascadeport.evaluation import Size
from cascadeport.results import intervals
from cascadeport.results.intervals import Accuracies
from cascadeport.results.result import Result


def of_result(result: Result, dataset: Dataset, size: Size = "all") -> Accuracies:
    """The accuracies of a result whose detections were evaluated on this data set.

    Args:
        size: The size of the objects that count.
    """
    assert result.folder is not None
    path = result.folder / result.files["detections"]
    return _of_file(path, digest.of_unchanged_file(path), dataset, size)[1]


def of_file(path: Path, dataset: Dataset) -> tuple[float | None, Accuracies]:
    """mAP and accuracies of published detections, as far as they are of these pictures.

    Raises:
        CascadeportError: They cannot be read.
    """
    return _of_file(path, digest.of_unchanged_file(path), dataset, "all", published=True)


# As many as a table has rows and objects have sizes.
@functools.lru_cache(maxsize=64)
def _of_file(
    path: Path, content: str, dataset: Dataset, size: Size, published: bool = False
) -> tuple[float | None, Accuracies]:
    ids = [item.id for item in dataset.items]
    with tempfile.TemporaryDirectory() as folder:
        if published:
            path = _restricted(path, set(ids), Path(folder))
        annotations = datasets.for_evaluation(dataset, Path(folder))
        found = evaluation.match(annotations, path, ids, size)
        drawn = intervals.draw(len(ids))
        map_ = intervals.all_pictures(found)
    return map_, intervals.accuracies(found, drawn)


def _restricted(path: Path, ids: set[int], folder: Path) -> Path:
    """The detections of these pictures, as a file."""
    content = read_bytes(path, "file of detections", limit=RECORD_LIMIT)
    try:
        kept = [one for one in _list(json.loads(content)) if one["image_id"] in ids]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CascadeportError(
            "The published detections are not in COCO's results format.",
            where=str(path),
            next="Correct `reference.detections` in the model card.",
        ) from error
    made = folder / "detections.json"
    made.write_text(json.dumps(kept), encoding="utf-8")
    return made


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError("it is no list")
    return value
