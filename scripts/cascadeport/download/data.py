"""Downloads a described data set: all its archives, fetched, checked and unpacked."""

from __future__ import annotations

from pathlib import Path

from cascadeport.datasets import Coco
from cascadeport.download.download import PATIENT, fetch
from cascadeport.download.policy import Policy
from cascadeport.download.progress import Progress
from cascadeport.download.source import Fetched, Source
from cascadeport.download.unpack import Packed, unpack


def fetch_data(
    description: Coco,
    downloads: Path,
    out: Path,
    *,
    progress: Progress | None = None,
    policy: Policy = PATIENT,
) -> list[Fetched]:
    """Downloads a data set into `out`, in COCO layout.

    Args:
        description: The data set.
        downloads: Where archives are kept, complete and partial ones. Archives that the user put
            there are checked and used. It can be removed once the data set is complete.
        out: A folder that is empty or does not exist yet.
        progress: Told how far it is.
        policy: How patient to be.

    Returns:
        The archives.

    Raises:
        CascadeportError: An archive cannot be had or unpacked.
    """
    fetched = [
        fetch(
            Source(archive.file, archive.urls, archive.sha256, archive.size_bytes),
            downloads / archive.file,
            progress=progress,
            policy=policy,
        )
        for archive in description.archives
    ]
    packed = [
        Packed(found.path, archive.members)
        for found, archive in zip(fetched, description.archives, strict=True)
    ]
    unpack(packed, out, progress=progress)
    return fetched
