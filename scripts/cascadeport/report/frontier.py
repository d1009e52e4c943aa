"""What `cascadeport tune` has found, for the report."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.results import result as results
from cascadeport.tune import picture
from cascadeport.tune.record import NAME, Frontier, PointRecord, load


@dataclass(frozen=True)
class FrontierView:
    """A search's record and its drawing.

    Args:
        record: The record.
        drawing: The picture, as an address.
        is_old: Whether a row of it is missing, or says something else by now.
    """

    record: Frontier
    drawing: str
    is_old: bool

    @property
    def chosen(self) -> PointRecord | None:
        """The chosen point."""
        chosen = self.record.chosen
        return None if chosen is None else self.record.points[chosen.point]


def view(folder: Path) -> FrontierView | None:
    """The search beside a comparison; None if there is none that can be read.

    Args:
        folder: results/<model>-<data>.
    """
    try:
        record = load(folder / NAME)
    except CascadeportError:
        return None
    if record.chosen is not None and not 0 <= record.chosen.point < len(record.points):
        return None
    if not any(one.status == "reference" for one in record.points):
        return None
    # As an image, a drawing runs nothing, whatever its file says.
    drawn = base64.b64encode(picture.svg(record).encode("utf-8")).decode("ascii")
    address = f"data:image/svg+xml;base64,{drawn}"
    return FrontierView(record, address, not all(_stands(one, folder) for one in record.points))


def _stands(point: PointRecord, folder: Path) -> bool:
    """Whether the rows of a point are there, with the accuracy that the record has."""
    runs = [*point.runs, *([point.held_out] if point.held_out else [])]
    for run in runs:
        row = (folder.parent / run.row).resolve()
        if folder.parent.resolve() not in row.parents:
            return False
        try:
            if results.load(row / results.NAME).map != run.map:
                return False
        except CascadeportError:
            return False
    return True
