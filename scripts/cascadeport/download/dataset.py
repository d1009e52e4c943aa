"""Downloads a described data set: its archives are downloaded, verified and unpacked."""

from __future__ import annotations

from pathlib import Path

from cascadeport.datasets import Coco
from cascadeport.download.file import DEFAULT_POLICY, download_file
from cascadeport.download.policy import Policy
from cascadeport.download.progress import Progress
from cascadeport.download.source import Downloaded, Source
from cascadeport.download.unpack import Packed, unpack


def download_dataset(
    description: Coco,
    downloads: Path,
    out: Path,
    *,
    progress: Progress | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[Downloaded]:
    """Downloads a data set into `out`, in COCO layout.

    Args:
        description: The data set.
        downloads: Where archives are kept, complete and partial ones. Archives that the user put
            there are checked and used. It can be removed once the data set is complete.
        out: A folder that is empty or does not exist yet.
        progress: Receives the progress.
        policy: How often and how long to try.

    Returns:
        The archives.

    Raises:
        CascadeportError: An archive cannot be downloaded or unpacked.
    """
    downloaded = [
        download_file(
            Source(archive.file, archive.urls, archive.sha256, archive.size_bytes),
            downloads / archive.file,
            progress=progress,
            policy=policy,
        )
        for archive in description.archives
    ]
    packed = [
        Packed(found.path, archive.members)
        for found, archive in zip(downloaded, description.archives, strict=True)
    ]
    unpack(packed, out, progress=progress)
    return downloaded
