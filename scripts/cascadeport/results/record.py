"""One target's result: result.json, collated from a pass, its evaluation and what they are of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import read_record
from cascadeport.config.schema import shortened
from cascadeport.evaluation import Evaluation

FORMAT = 1
NAME = "result.json"

Status = Literal["measured", "simulated", "published", "invalid"]
_Table = TypeVar("_Table", bound=BaseModel)


class _Record(BaseModel):
    """A part of result.json. Keys of later versions of the same format are kept, not refused."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Statistics(_Record):
    """Milliseconds of a step. A percentile without enough samples is None."""

    n: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Throughput(_Record):
    """Pictures per second of one timed pass: of one chip, of all of them, and end to end."""

    chip_ips: float | None = None
    device_ips: float | None = None
    end_to_end_ips: float | None = None
    pictures: int | None = None


class Summary(_Record):
    """What is derived from a pass's raw times."""

    chip_ips: float | None = None
    device_ips: float | None = None
    end_to_end_ips: float | None = None
    bound_by: str | None = None
    repeats: list[Throughput] = []
    steps_ms: dict[str, Statistics | None] = {}
    latency_ms: Statistics | None = None


class Skipped(_Record):
    """A picture that could not be used, and why."""

    id: int
    file: str
    reason: str


class Digests(_Record):
    """What ran: the bundle and the graph."""

    bundle: str
    network: str


class Run(_Record):
    """run.json, which the bundle writes."""

    format: Literal[2] = 2
    status: Literal["complete", "partial"]
    problems: list[str] = []
    skipped: list[Skipped] = []
    pictures: int
    environment: dict[str, Any] = {}
    summary: Summary = Summary()
    digests: Digests
    warmup: int | None = None
    peak_rss_bytes: int | None = None
    simulated: bool = False


class Reference(_Record):
    """A published accuracy."""

    map: float
    source: str


class Model(_Record):
    """What was run. `input` says in which shape: the same weights see another picture in others."""

    name: str
    title: str
    input: str | None = None
    checkpoint_sha256: str | None = None
    reference: Reference | None = None


class DatasetFacts(_Record):
    """What it was run on: `images` is how many pictures the pass was of."""

    name: str
    images: int
    root: str
    annotations: str


class Result(_Record):
    """One target's result (docs/architecture.md).

    `folder` is where it was read from or will be written; `files` start there.
    """

    format: Literal[1] = 1
    target: str
    title: str
    status: Status
    reason: str = ""
    model: Model
    dataset: DatasetFacts
    map: float | None
    map50: float | None
    map75: float | None
    images: int
    chip_ips: float | None
    device_ips: float | None
    end_to_end_ips: float | None
    latency_ms: Statistics | None
    bundle_digest: str
    model_digest: str
    dataset_digest: str
    semantics: list[str] = []
    evaluation: Evaluation
    run: Run
    files: dict[str, str] = {}
    folder: Path | None = Field(default=None, exclude=True, repr=False)

    def file(self, key: str) -> Path | None:
        """The path of a file of this result, None where there is no such file."""
        if self.folder is None or key not in self.files:
            return None
        path = self.folder / self.files[key]
        return path if path.is_file() else None


def collate(
    *,
    target: str,
    title: str,
    model: Model,
    dataset: DatasetFacts,
    model_digest: str,
    dataset_digest: str,
    semantics: Sequence[str],
    evaluation: Evaluation,
    run: Run,
    files: Mapping[str, str] | None = None,
) -> Result:
    """Puts a result together and decides its status.

    Args:
        target: The target's name in targets.toml.
        title: How tables name it.
        model: What was run.
        dataset: What it was run on.
        model_digest: The digest of what was trained; the same on every target.
        dataset_digest: The digest of the data set.
        semantics: What the target's lowering changed in the model's meaning, a sentence each.
        evaluation: The accuracy.
        run: run.json.
        files: More files, by key, from the result's folder.
    """
    reasons = _reasons(dataset, evaluation, run)
    status: Status = "measured"
    if reasons:
        status = "invalid"
    elif run.simulated:
        status = "simulated"
    timed = not run.simulated
    return Result(
        target=target,
        title=title,
        status=status,
        reason="; ".join(reasons),
        model=model,
        dataset=dataset,
        map=evaluation.stats["AP"],
        map50=evaluation.stats["AP50"],
        map75=evaluation.stats["AP75"],
        images=evaluation.images,
        chip_ips=run.summary.chip_ips if timed else None,
        device_ips=run.summary.device_ips if timed else None,
        end_to_end_ips=run.summary.end_to_end_ips if timed else None,
        latency_ms=run.summary.latency_ms if timed else None,
        bundle_digest=run.digests.bundle,
        model_digest=model_digest,
        dataset_digest=dataset_digest,
        semantics=list(semantics),
        evaluation=evaluation,
        run=run if timed else _without_times(run),
        files={
            "detections": "infer/detections.json",
            "times": "infer/times.csv",
            **(files or {}),
        },
    )


def _reasons(dataset: DatasetFacts, evaluation: Evaluation, run: Run) -> list[str]:
    """Why the run is invalid; empty when it is not."""
    reasons = [problem.rstrip(".") for problem in run.problems]
    if run.skipped and not any("skipped" in reason for reason in reasons):
        reasons.append(f"{len(run.skipped)} of {dataset.images} pictures were skipped")
    if run.status != "complete" and not reasons:
        reasons.append("the pass is not complete")
    if evaluation.images != dataset.images:
        reasons.append(
            f"{evaluation.images} pictures were evaluated, {dataset.images} were to be run"
        )
    missing = dataset.images - run.pictures - len(run.skipped)
    if missing > 0:
        reasons.append(f"{missing} pictures left no result")
    return reasons


def _without_times(run: Run) -> Run:
    # A simulator's clock says nothing about the device: nobody shall find its times anywhere.
    return run.model_copy(update={"summary": Summary()})


def load_run(path: Path) -> Run:
    """Reads run.json.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    return _read(path, Run, "record of the run")


def write(result: Result, folder: Path) -> Path:
    """Writes result.json into the target's folder; equal results give equal bytes."""
    path = folder / NAME
    text = json.dumps(result.model_dump(mode="json"), ensure_ascii=False, indent=1)
    temporary = path.with_name(f".{NAME}.tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)
    return path


def load(path: Path) -> Result:
    """Reads result.json.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    return _read(path, Result, "result").model_copy(update={"folder": path.parent})


def _read(path: Path, table: type[_Table], what: str) -> _Table:
    remedy = f"Run the target again; it writes a new {path.name}."
    values = read_record(path, what, next=remedy)
    version = values.get("format")
    expected = table.model_fields["format"].default
    if version != expected:
        raise CascadeportError(
            f"The {what} has format {shortened(version)}, this version reads format {expected}.",
            where=str(path),
            next=remedy,
        )
    try:
        return table.model_validate(values)
    except ValidationError as error:
        details = [
            f"{'.'.join(map(str, found['loc']))}: {found['msg'].lower()}"
            for found in error.errors(include_url=False)[:10]
        ]
        raise CascadeportError(
            f"The {what} is not complete.", where=str(path), details=details, next=remedy
        ) from None
