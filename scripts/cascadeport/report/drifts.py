"""What the report shows of the drift between rows: figures, and pictures side by side."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cascadeport.results.drift import Drift, Extent, PictureDrift, Summary
from cascadeport.results.result import Result
from cascadeport.results.speed import Speed, compare

PICTURES = 6
"""How many pictures of each row are embedded; drift.json lists more."""
_UNITS = {"boxes": "px", "scores": "", "classes": "score", "missing": "score", "extra": "score"}
_NAMES = {
    "boxes": "boxes moved",
    "scores": "scores moved",
    "classes": "class changed",
    "missing": "missing",
    "extra": "extra",
}


@dataclass(frozen=True)
class Line:
    """A kind of difference: its name, what its sizes are, and its extent."""

    name: str
    unit: str
    extent: Extent


@dataclass(frozen=True)
class DriftPicture:
    """A picture that differs, both rows side by side."""

    picture: PictureDrift
    address: str

    @property
    def kinds(self) -> str:
        """The kinds of difference in it, as words for a filter."""
        picture = self.picture
        counts = {
            "moved": picture.moved,
            "class": picture.classes,
            "missing": picture.missing,
            "extra": picture.extra,
        }
        return " ".join(name for name, count in counts.items() if count)


@dataclass(frozen=True)
class DriftView:
    """How one row differs from the first one, in detections and speed."""

    title: str
    against: str
    drift: Drift
    overall: list[Line]
    confident: list[Line]
    pictures: list[DriftPicture]
    sentence: str
    speed: Speed | None


def views(drifts: Sequence[Drift], results: Sequence[Result], folder: Path) -> list[DriftView]:
    """The drift of every row that is shown.

    Args:
        drifts: The comparison's.
        results: The results that are shown.
        folder: Where the drawings' paths start.
    """
    by_name = {result.target: result for result in results}
    found = []
    for drift in drifts:
        first, second = by_name.get(drift.first), by_name.get(drift.second)
        if first is None or second is None:
            continue
        found.append(
            DriftView(
                title=second.title,
                against=first.title,
                drift=drift,
                overall=_lines(drift.overall),
                confident=_lines(drift.confident),
                pictures=_pictures(drift, folder),
                sentence=sentence(drift),
                speed=compare(second.run.summary, first.run.summary),
            )
        )
    return found


def sentence(drift: Drift) -> str:
    """What differs, in a sentence."""
    if drift.overall.is_none:
        return "Every detection is the same, to the last bit."
    confident = drift.confident
    parts = [
        f"{extent.count} {name}"
        for name, extent in (
            ("missing", confident.missing),
            ("extra", confident.extra),
            ("of another class", confident.classes),
            ("with a box that moved", confident.boxes),
            ("with a score that moved", confident.scores),
        )
        if extent.count
    ]
    alike = f"In {drift.alike} of {drift.pictures} pictures nothing differs visibly"
    if not parts:
        return f"{alike}; of the {confident.first} confident detections, none does."
    return f"{alike}; of {confident.first} confident detections: {', '.join(parts)}."


def _lines(summary: Summary) -> list[Line]:
    return [Line(name, _UNITS[key], getattr(summary, key)) for key, name in _NAMES.items()]


def _pictures(drift: Drift, folder: Path) -> list[DriftPicture]:
    found = []
    for picture in [one for one in drift.worst if one.drawing][:PICTURES]:
        try:
            content = (folder / picture.drawing).read_bytes()
        except OSError:
            continue
        encoded = base64.b64encode(content).decode("ascii")
        found.append(DriftPicture(picture, f"data:image/jpeg;base64,{encoded}"))
    return found
