"""A file that is on this machine already: verified, then linked rather than copied."""

from __future__ import annotations

import os
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.download.disk import check_space
from cascadeport.download.part import Part
from cascadeport.download.progress import Meter
from cascadeport.download.source import Source
from cascadeport.download.transfer import PermanentError
from cascadeport.download.verify import check

_BLOCK = 1 << 20


def link_or_copy(source: Source, path: Path, destination: Path, meter: Meter) -> None:
    """Links a verified file to the destination, or copies it where it cannot be linked.

    Raises:
        PermanentError: It does not exist or is not the right file.
        CascadeportError: There is not enough space for a copy.
    """
    try:
        found = check(path, source)
    except CascadeportError as error:
        raise PermanentError(error.what.rstrip(".")) from error
    try:
        os.link(path.resolve(), destination)
        return
    except OSError:
        # Another disk, a file system without hard links, or a file that is not ours to link.
        check_space(destination.parent, found.size, source.name)
    with Part(destination) as part, path.open("rb") as file:
        part.restart()
        meter.total = found.size
        while block := file.read(_BLOCK):
            part.append(block)
            meter.update(part.size)
        if not part.matches(source):
            part.restart()
            raise PermanentError("the file changed while it was copied")
        part.finish()
