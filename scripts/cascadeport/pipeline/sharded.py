"""A pass in shards: where they are kept until all are finished, and how they become the pass."""

from __future__ import annotations

import shutil
from pathlib import Path

from bundle.errors import BundleError
from bundle.sharded import merge
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors

PREFIX = ".shards-"
_JOB = "job.json"


def place(row: Path, identity: str) -> Path:
    """The folder in which the shards of a pass are kept until it is complete.

    Another pass's of the same row are removed: whatever it was, it is not this one.

    Args:
        row: The row's folder.
        identity: What the pass is made of, in short.
    """
    folder = row / f"{PREFIX}{identity}"
    with disk_errors(folder):
        for other in row.glob(f"{PREFIX}*"):
            if other != folder:
                shutil.rmtree(other)
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def merge_into(folder: Path, place: Path) -> None:
    """Merges the shards of a place into the pass's folder, and removes them.

    Raises:
        CascadeportError: They are not all of the pass.
    """
    with disk_errors(folder):
        shutil.copyfile(place / _JOB, folder / _JOB)
        shards = [str(one) for one in place.glob("shard-*-of-*")]
        try:
            merge.merge(str(folder / _JOB), str(folder), shards or [str(place)])
        except BundleError as error:
            raise CascadeportError(error.what, where=error.where, next=error.next) from error
        shutil.rmtree(place)
