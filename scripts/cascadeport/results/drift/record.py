"""drift.json: how the detections of each row differ from the first comparable row's."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

FORMAT = 1
NAME = "drift.json"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True)


class Extent(_Table):
    """How many detections differ in one way, and by how much. Missing values are None.

    Attributes:
        count: How many differ.
        share: Of how many could: pairs of one class for boxes and scores, all detections of both
            rows otherwise (a pair counts once).
        median, p90, worst: Over all pairs, alike ones too, for boxes (pixels) and scores; the
            scores of the detections concerned otherwise.
        picture: The id of the picture of the worst.
    """

    count: int
    share: float | None = None
    median: float | None = None
    p90: float | None = None
    worst: float | None = None
    picture: int | None = None


class Summary(_Table):
    """The differences over all pictures, of detections of at least `score`.

    Attributes:
        score: The lowest score that is counted; None: all of them.
        first, second: How many detections the two rows have.
        pairs: How many are of one class and in the same place in both.
        identical: How many of the pairs have the very same box and score.
        boxes: Pairs whose boxes differ by more than the tolerance.
        scores: Pairs whose scores differ by more than the tolerance.
        classes: Detections in the same place of another class.
        missing: Detections that only the first row has.
        extra: Detections that only the second row has.
    """

    score: float | None
    first: int
    second: int
    pairs: int
    identical: int
    boxes: Extent
    scores: Extent
    classes: Extent
    missing: Extent
    extra: Extent

    @property
    def is_none(self) -> bool:
        """Whether the rows have the same detections, bit for bit."""
        return self.identical == self.first == self.second


class PictureDrift(_Table):
    """The differences in one picture, of detections of at least the fixed score.

    Attributes:
        id, file: The picture.
        weight: How much differs: the scores of missing and extra detections and of those whose
            class changed, plus, of every pair, what is not common to both boxes (1 - IoU) times
            its score and the difference of its scores.
        moved, classes, missing, extra: How many detections differ in which way.
        drawing: The file with the two pictures side by side, relative to drift.json; empty if
            there is none.
    """

    id: int
    file: str
    weight: float
    moved: int
    classes: int
    missing: int
    extra: int
    drawing: str = ""


class Drift(_Table):
    """How the detections of one row differ from another's.

    Attributes:
        first, second: The targets' names.
        pictures: How many pictures were compared.
        alike: In how many of them every detection is the same within the tolerances.
        pixels, difference: The tolerances of boxes (pixels) and scores.
        overall: Of all detections.
        confident: Of those of at least one fixed score.
        worst: The pictures that differ most among those in which anything differs by more than the
            tolerances, the worst first.
    """

    first: str
    second: str
    pictures: int
    alike: int
    pixels: float
    difference: float
    overall: Summary
    confident: Summary
    worst: list[PictureDrift] = []


class Drifts(_Table):
    """Every row's drift against the first comparable one."""

    format: int = FORMAT
    drifts: list[Drift]
