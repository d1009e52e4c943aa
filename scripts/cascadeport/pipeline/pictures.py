"""The pictures that a pass read: were they the data set's, from beginning to end?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import RECORD_LIMIT, read_bytes
from cascadeport.datasets import Dataset

FILE = "pictures.jsonl"
_NEXT = "Run the target again."
_SHOWN = 3

Version = tuple[int, ...]
"""What changes whenever a file is written or replaced, whatever its content."""


def versions(dataset: Dataset) -> dict[int, Version]:
    """The version of every picture that is there, by id; taken before a pass."""
    found: dict[int, Version] = {}
    for item in dataset.items:
        try:
            facts = (dataset.pictures_dir / item.file).stat()
        except (OSError, ValueError):
            continue
        found[item.id] = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    return found


def read(folder: Path) -> dict[int, str]:
    """The sha256 of every picture as the bundle read it, by id.

    Raises:
        CascadeportError: The file cannot be read, or is not what the bundle writes.
    """
    path = folder / FILE
    content = read_bytes(path, "record of the pictures", limit=RECORD_LIMIT, next=_NEXT)
    found = {}
    try:
        for line in content.decode("utf-8").splitlines():
            values = json.loads(line)
            found[int(values["id"])] = str(values["sha256"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CascadeportError(
            "The record of the pictures is not in the format of this version.",
            where=str(path),
            next=_NEXT,
        ) from None
    return found


def joint_digest(pictures: Mapping[int, str]) -> str:
    """One digest for all pictures that a pass read."""
    return digest.of_value(sorted(pictures.items()))


def changed(
    dataset: Dataset, before: Mapping[int, Version], pictures: Mapping[int, str]
) -> list[str]:
    """Which pictures are not what they were when the pass began, in a sentence; empty if none.

    Args:
        before: Their versions before the pass.
        pictures: What the bundle read.
    """
    after = versions(dataset)
    names = []
    for item in dataset.items:
        if item.id not in pictures:
            continue  # It was skipped, with the reason.
        try:
            same = digest.of_file(dataset.pictures_dir / item.file) == pictures[item.id]
        except OSError:
            same = False
        if not same or after.get(item.id) != before.get(item.id):
            names.append(item.file)
    if not names:
        return []
    shown = ", ".join(names[:_SHOWN]) + ", ..." * (len(names) > _SHOWN)
    return [f"{len(names)} of {len(dataset.items)} pictures changed during the pass: {shown}"]
