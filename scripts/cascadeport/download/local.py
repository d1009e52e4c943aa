"""A file that is on this machine already: checked, then linked rather than copied."""

from __future__ import annotations

import os
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.download.disk import check_room
from cascadeport.download.part import Part
from cascadeport.download.progress import Meter
from cascadeport.download.source import Source
from cascadeport.download.transfer import RefusedError
from cascadeport.download.verify import check

_BLOCK = 1 << 20


def take(source: Source, path: Path, destination: Path, meter: Meter) -> None:
    """Gives a checked file a second name at the destination, or copies it to another disk.

    Raises:
        RefusedError: It is not there or not the right file.
        CascadeportError: There is no room for a copy.
    """
    try:
        found = check(path, source)
    except CascadeportError as error:
        raise RefusedError(error.what.rstrip(".")) from error
    try:
        os.link(path.resolve(), destination)
        return
    except OSError:
        # Another disk, a file system without hard links, or a file that is not ours to link.
        check_room(destination.parent, found.size, source.name)
    with Part(destination) as part, path.open("rb") as file:
        part.restart()
        meter.total = found.size
        while block := file.read(_BLOCK):
            part.append(block)
            meter.update(part.size)
        if not part.matches(source):
            part.restart()
            raise RefusedError("the file changed while it was copied")
        part.finish()
