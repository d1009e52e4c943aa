"""What is known of a point: what its runs gave, and what follows for the budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from cascadeport.base.errors import ExitCode
from cascadeport.results import gate
from cascadeport.results.intervals import Interval
from cascadeport.results.numbers import points
from cascadeport.results.speed import Speed
from cascadeport.tune.space import Point

Status = Literal["reference", "within", "beyond", "undecided", "skipped", "failed"]


@dataclass(frozen=True)
class Measured:
    """What a run of a point gave, against the reference on the same pictures.

    Args:
        row: The row's folder below the folder of results.
        pictures: How many there were.
        map: mAP over IoU 0.50:0.95; None without objects.
        own: Its interval.
        delta: mAP minus the reference's.
        difference: The paired interval of that difference.
        ips: Pictures per second on the device, the geometric mean of the row's passes, which is
            what speeds are compared by; None: simulated.
        ips_end_to_end: From file to boxes, likewise.
        device_ips: That of the row's table, from its scored pass.
        end_to_end_ips: Likewise.
        speed: Its passes against the reference's; None: simulated, or of other pictures.
        simulated: Whether a stand-in for hardware ran the network.
    """

    row: str
    pictures: int
    map: float | None
    own: Interval | None
    delta: float | None
    difference: Interval | None
    ips: float | None
    ips_end_to_end: float | None
    device_ips: float | None
    end_to_end_ips: float | None
    speed: Speed | None
    simulated: bool = False

    def verdict(self, budget: float) -> tuple[Status, str]:
        """Whether it is within a budget of points, and why.

        Args:
            budget: In points, hundredths of mAP.
        """
        if self.delta is None or self.difference is None:
            return "undecided", "these pictures have too few objects for an accuracy"
        found = gate.verdict_on(self.delta, self.difference, self.pictures, budget)
        said: dict[str, Status] = {"pass": "within", "fail": "beyond"}
        return said.get(found.verdict, "undecided"), self.lost + found.note

    @property
    def lost(self) -> str:
        """The difference from the reference, in words, and on how many pictures."""
        return f"{self.change} on {self.pictures} pictures"

    @property
    def change(self) -> str:
        """The difference from the reference, in words."""
        if self.delta is None or self.difference is None:
            return "no accuracy"
        if self.difference.low == self.difference.high == self.delta == 0:
            return "exactly the reference's accuracy"
        return (
            f"{points(self.delta)} points [{points(self.difference.low)}, "
            f"{points(self.difference.high)}]"
        )

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the reference it is."""
        return self.speed.ratio if self.speed else None

    @property
    def pace(self) -> str:
        """How fast it is, in words."""
        if self.speed is None:
            return "no speed"
        if self.speed.low is None or self.speed.high is None:
            return f"{self.speed.ratio:.2f} times the reference's speed"
        return (
            f"{self.speed.ratio:.2f} [{self.speed.low:.2f}, {self.speed.high:.2f}] times the "
            "reference's speed"
        )

    @property
    def is_no_gain(self) -> bool:
        """Whether it is not faster than the reference, be it by chance or not."""
        return self.ratio is not None and self.ratio <= 1

    @property
    def is_slower(self) -> bool:
        """Whether it is slower than the reference, beyond doubt."""
        return self.speed is not None and self.speed.high is not None and self.speed.high < 1

    @property
    def is_faster(self) -> bool:
        """Whether it is faster than the reference, beyond doubt."""
        return self.speed is not None and self.speed.low is not None and self.speed.low > 1


@dataclass(frozen=True)
class Failed:
    """A run that gave nothing: what happened, and the exit code that says the same."""

    reason: str
    code: ExitCode = ExitCode.STAGE


Outcome = Measured | Failed


@dataclass
class Entry:
    """A point of the search, and what became of it.

    Args:
        point: The point.
        status: What became of it.
        reason: Why, in a clause.
        outcomes: What its runs on pictures of the search gave, by the number of their step.
        held_out: What its run on the other pictures gave.
        held_out_status: What follows from that.
        note: What is to be said besides, e.g. why it was not combined with others.
    """

    point: Point
    status: Status = "undecided"
    reason: str = ""
    outcomes: dict[int, Measured] = field(default_factory=dict)
    held_out: Measured | None = None
    held_out_status: Status | None = None
    note: str = ""

    @property
    def latest(self) -> Measured | None:
        """What it gave on the most pictures."""
        return self.outcomes[max(self.outcomes)] if self.outcomes else None
