"""Is there room? Asked before anything is written."""

from __future__ import annotations

import shutil
from pathlib import Path

from cascadeport.base.errors import CascadeportError

_RESERVE = 64 << 20


def check_room(folder: Path, needed: int, what: str) -> None:
    """Checks that a folder's disk has room.

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
            f"There is no room for {what}: {_size(needed)} are needed, {_size(free)} are free.",
            where=str(folder),
            next="Free some space, or keep products elsewhere with BUILD=.",
        )


def _size(count: int) -> str:
    if count >= 1_000_000_000:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB"
