"""explain-A-B.json: why two rows differ, as data (docs/explain.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cascadeport.results.schema import Record, read

FORMAT = 1
Verdict = Literal["same", "made", "inherited", "not compared"]


class RowFacts(Record):
    """A row that was explained. `runs_as` says in words what ran its graph here."""

    name: str
    title: str
    status: str
    map: float | None
    runs_as: str
    semantics: list[str] = []


class PictureFacts(Record):
    """The picture that was looked at, and why it was chosen."""

    id: int
    file: str
    why: str


class Tensor(Record):
    """One value of both graphs. Distances are relative to the value's root mean square.

    `difference` is that of the two rows, `noise` that of the first row from itself; `own` is what
    the operators before it make of equal inputs, `own_noise` the same of the first row. None: it
    could not be compared, or is not finite; `reason` then says why.
    """

    value: str
    stage: str
    what: str = ""
    operator: str
    verdict: Verdict
    difference: float | None
    noise: float | None
    own: float | None
    own_noise: float | None
    reason: str = ""

    @property
    def times(self) -> float | None:
        """The difference, or the own error, in multiples of its noise."""
        apart, noise = (
            (self.own, self.own_noise) if self.verdict == "made" else (self.difference, self.noise)
        )
        return apart / noise if apart is not None and noise else None


class Tensors(Record):
    """What the comparison of one picture's tensors found.

    `compared` is their number. `first` is the first whose operators make an error beyond noise,
    `makers` are all of those in the order of computation, `anchors` the named tensors by stage.
    """

    compared: int
    first: Tensor | None
    makers: list[Tensor]
    anchors: list[Tensor]
    notes: list[str] = []


class VendorTensor(Record):
    """One output in msprobe's comparison; `suspect` by the limits of its own analyser."""

    operator: str
    value: str
    stage: str
    cosine: float | None
    distance: float | None
    suspect: bool
    reason: str = ""


class Vendor(Record):
    """What msprobe's comparison says: `failed` outputs it could not compare."""

    file: str
    compared: int
    failed: int
    first: VendorTensor | None
    suspects: list[VendorTensor]


class Step(Record):
    """One declared change, switched on alone: the mAP with it, and what it adds in points."""

    name: str
    title: str
    map: float | None
    points: float | None


class Side(Record):
    """The changes of one row.

    `map` is the row's own mAP (None if fewer pictures were run), `base` that of its graph without
    the changes (None if it has none of its own), `together` with all of them. `remainder` is what
    they cost together and not one by one; `elsewhere` is the rest up to the row's own mAP, which no
    declared change explains.
    """

    row: str
    map: float | None
    base: float | None
    together: float | None
    steps: list[Step]
    remainder: float | None
    elsewhere: float | None


class Shares(Record):
    """Which declared change takes which share of the points, on the first `pictures` of `of`."""

    pictures: int
    of: int
    seconds: float
    graphs: int
    first: Side
    second: Side


class Explanation(Record):
    """explain-A-B.json."""

    format: Literal[1] = 1
    sentences: list[str]
    model: str
    dataset: str
    first: RowFacts
    second: RowFacts
    picture: PictureFacts
    tensors: Tensors
    vendor: Vendor | None = None
    shares: Shares | None
    shares_reason: str = ""
    notes: list[str] = []
    version: str


def name(first: str, second: str) -> str:
    """The stem of an explanation's files."""
    return f"explain-{first}-{second}"


def load(path: Path) -> Explanation:
    """Reads an explanation.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    return read(path, Explanation, "explanation")
