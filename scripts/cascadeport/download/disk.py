"""Free disk space, checked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from cascadeport.base.errors import CascadeportError

_RESERVE = 64 << 20


def check_space(folder: Path, needed: int, what: str) -> None:
    """Checks that a folder's disk has enough free space.

    Args:
        folder: It exists.
        needed: Bytes that will be written.
        what: What they are.

    Raises:
        CascadeportError: They would not leave 64 MiB free.
    """
    free = shutil.disk_usage(folder).free
    if needed + _RESERVE > free:
        raise CascadeportError(
            f"Not enough disk space for {what}: {_size(needed)} needed, {_size(free)} free.",
            where=str(folder),
            next="Free some space, or give another folder with --build.",
        )


def _size(count: int) -> str:
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB"
