"""The result of one target: result.json (docs/architecture.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from cascadeport.base.files import write_json
from cascadeport.config.gate import Gate
from cascadeport.evaluation import Evaluation
from cascadeport.results.conditions import Conditions
from cascadeport.results.fleet import Fleet
from cascadeport.results.run_record import RunRecord, Statistics
from cascadeport.results.schema import Record, read

NAME = "result.json"

Status = Literal["measured", "simulated", "published", "invalid"]


class PublishedAccuracy(Record):
    """A published accuracy."""

    map: float
    source: str


class ModelFacts(Record):
    """The model that ran. `input` is the network's input shape, on which the accuracy depends."""

    name: str
    title: str
    input: str | None = None
    checkpoint_sha256: str | None = None
    reference: PublishedAccuracy | None = None


class DatasetFacts(Record):
    """The data set it ran on, and where it was when the result was computed.

    `pictures` is the number of pictures that the pass was to process.
    """

    name: str
    pictures: int
    root: str
    annotations: str
    pictures_root: str = ""


class Result(Record):
    """The result of one target.

    `settings` are those of the card that change what is detected (results/settings.py). `gate` is
    what was declared to be good enough before the pass began. `folder` is the folder of
    result.json; the paths in `files` are relative to it.
    """

    format: Literal[2] = 2
    target: str
    title: str
    status: Status
    reason: str = ""
    model: ModelFacts
    dataset: DatasetFacts
    map: float | None
    map50: float | None
    map75: float | None
    pictures: int
    chip_ips: float | None
    device_ips: float | None
    end_to_end_ips: float | None
    latency_ms: Statistics | None
    bundle_digest: str
    model_digest: str
    dataset_digest: str
    pictures_digest: str
    settings_digest: str
    settings: dict[str, Any]
    semantics: list[str] = []
    conditions: Conditions | None = None
    fleet: Fleet | None = None
    remarks: list[str] = []
    gate: Gate | None = None
    evaluation: Evaluation
    run: RunRecord
    files: dict[str, str] = {}
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    def file(self, key: str) -> Path | None:
        """The path of a file of this result; None if there is no such file."""
        if self.folder is None or key not in self.files:
            return None
        path = self.folder / self.files[key]
        return path if path.is_file() else None


def write(result: Result, folder: Path) -> Path:
    """Writes result.json into the target's folder; equal results give equal bytes."""
    path = folder / NAME
    write_json(path, result.model_dump(mode="json"))
    return path


def load(path: Path) -> Result:
    """Reads result.json.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    return read(path, Result, "result").model_copy(update={"folder": path.parent})
