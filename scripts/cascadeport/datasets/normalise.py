"""Completes an annotation file that leaves something out, so that evaluators can read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cascadeport.base.reading import read_bytes
from cascadeport.datasets.annotations import read
from cascadeport.datasets.dataset import ANNOTATIONS_LIMIT, Dataset

FILE = "annotations.json"


def for_evaluation(dataset: Dataset, folder: Path) -> Path:
    """The annotation file to evaluate by: the user's own, or a copy with what it leaves out.

    The copy has `iscrowd` 0 and `area` width times height where they are missing, another id for
    an annotation of id 0 (evaluators that are made like pycocotools write 0 for "no match"), and
    no byte order mark.

    Args:
        dataset: A checked data set.
        folder: Where a copy is written, as `annotations.json`.
    """
    if dataset.plain:
        return dataset.annotations_path
    path = dataset.annotations_path
    document = read(path, read_bytes(path, "annotation file", limit=ANNOTATIONS_LIMIT))
    records: list[dict[str, Any]] = document["annotations"]
    unused = max((record["id"] for record in records), default=0) + 1
    for record in records:
        if record["id"] == 0:
            record["id"] = max(unused, 1)
        record["iscrowd"] = int(record.get("iscrowd") or 0)
        if record.get("area") is None:
            record["area"] = record["bbox"][2] * record["bbox"][3]
    copy = folder / FILE
    # Half a character can be said in JSON (an escape), but not in UTF-8; names have none.
    text = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    copy.write_bytes(text)
    return copy
