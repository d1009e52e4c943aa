"""frontier.json: what a search found, as data (docs/tune.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from cascadeport.results.schema import Record, read

FORMAT = 1
NAME = "frontier.json"
PICTURE = "frontier.svg"

Status = Literal["reference", "within", "beyond", "undecided", "skipped", "failed"]


_Share = Annotated[float, Field(ge=-1, le=1)]
_Rate = Annotated[float, Field(gt=0, le=1e9)]


class Span(Record):
    """A 95 % interval of an accuracy, or of a difference of two."""

    low: _Share
    high: _Share


class Ratio(Record):
    """A speed divided by the reference's, over passes on the same pictures. No interval: None."""

    ratio: _Rate
    low: _Rate | None
    high: _Rate | None


class Run(Record):
    """What one run of a point gave.

    `row` is the row's folder below the folder of results. `difference` is `delta`'s interval, from
    the same draws of the same pictures as the reference's. `ips` is the geometric mean of the
    pictures per second on the device over the row's passes, by which speeds are compared, and
    `ips_end_to_end` the same from file to boxes; `device_ips` and `end_to_end_ips` are those of the
    row's table, from its scored pass alone. Speeds are null if
    `simulated`.
    """

    row: str
    pictures: int
    map: _Share | None
    interval: Span | None
    delta: _Share | None
    difference: Span | None
    ips: _Rate | None
    ips_end_to_end: _Rate | None
    device_ips: _Rate | None
    end_to_end_ips: _Rate | None
    speed: Ratio | None
    simulated: bool = False


class PointRecord(Record):
    """A point: a recipe, what became of it, and why.

    `options` are what differs from the reference's recipe, by the option's name. `map`, `interval`
    and the speeds are those of its run on the most pictures of the search, the last of `runs`; null
    where there is none, and the speeds where it was simulated.
    """

    target: str
    options: dict[str, Any]
    title: str
    status: Status
    reason: str
    note: str = ""
    map: _Share | None = None
    interval: Span | None = None
    delta: _Share | None = None
    difference: Span | None = None
    ips: _Rate | None = None
    ips_end_to_end: _Rate | None = None
    device_ips: _Rate | None = None
    end_to_end_ips: _Rate | None = None
    speed: Ratio | None = None
    simulated: bool = False
    pictures: int | None = None
    on_frontier: bool = False
    runs: list[Run] = []  # noqa: RUF012  pydantic copies the default
    held_out: Run | None = None
    held_out_status: Status | None = None

    @property
    def is_measured(self) -> bool:
        """Whether it has both an accuracy and a speed."""
        return self.delta is not None and self.ips is not None


class Chosen(Record):
    """The fastest point within the budget.

    `point` is its place in `points`, `command` what runs it. `held_out` is null for the reference,
    which is compared with nothing.
    """

    point: int
    target: str
    options: dict[str, Any]
    command: str
    held_out: Run | None


class Pictures(Record):
    """How the pictures were divided: by the sha256 of their ids."""

    steps: list[int]
    held_out: int


class Frontier(Record):
    """frontier.json.

    `drift` is the reference's speed once more after the search, divided by what it was before.
    `left_out` says which axes have no points, and why. `chosen` is null where nothing has a speed.
    """

    format: Literal[1] = 1
    model: str
    data: str
    target: str
    targets: list[str]
    budget: float = Field(gt=0, le=100)
    level: float
    pictures: Pictures
    sentences: list[str]
    points: list[PointRecord]
    chosen: Chosen | None
    judged: list[int]
    drift: Ratio | None
    left_out: list[str]

    @property
    def reference(self) -> PointRecord:
        """The point that all others are compared with."""
        return next(one for one in self.points if one.status == "reference")


def load(path: Path) -> Frontier:
    """Reads frontier.json.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    return read(path, Frontier, "record of the search")
