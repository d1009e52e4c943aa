"""What the bundle records of a pass: run.json (docs/architecture.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from cascadeport.pipeline.subject import Subject
from cascadeport.results.schema import Record, read


class Statistics(Record):
    """Milliseconds of a step. A percentile without enough samples is None."""

    n: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None


class Throughput(Record):
    """Pictures per second of one timed pass: of one chip, of all chips, and end to end."""

    chip_ips: float | None = None
    device_ips: float | None = None
    end_to_end_ips: float | None = None
    pictures: int | None = None


class DeviceFigures(Record):
    """What one device of a fleet did, in the time in which it was at work."""

    device: str
    shards: int
    pictures: int
    seconds: float
    chip_ips: float | None = None
    device_ips: float | None = None
    end_to_end_ips: float | None = None
    latency_ms: Statistics | None = None


class Summary(Record):
    """The figures derived from the raw times of a pass.

    `seconds` and `devices` are a fleet's: the time from the first beginning to the last end, and
    each of its devices.
    """

    chip_ips: float | None = None
    device_ips: float | None = None
    end_to_end_ips: float | None = None
    bound_by: str | None = None
    repeats: list[Throughput] = []
    steps_ms: dict[str, Statistics | None] = {}
    latency_ms: Statistics | None = None
    seconds: float | None = None
    devices: list[DeviceFigures] = []


class SkippedEntry(Record):
    """A picture that the pass skipped, and why."""

    id: int
    file: str
    reason: str


class ShardEntry(Record):
    """A shard of a pass that ran in shards: what ran it, when, and the digest of its run.json."""

    index: int
    count: int
    node: str
    machine: str = ""
    devices: list[str] = []
    pictures: int
    began: float
    seconds: float
    record: str


class Digests(Record):
    """The digests of the bundle and of the network that ran."""

    bundle: str
    network: str


class RunRecord(Record):
    """run.json."""

    format: Literal[2] = 2
    status: Literal["complete", "partial"]
    problems: list[str] = []
    skipped: list[SkippedEntry] = []
    pictures: int
    environment: dict[str, Any] = {}
    summary: Summary = Summary()
    digests: Digests
    warmup: int | None = None
    peak_rss_bytes: int | None = None
    simulated: bool = False
    shards: list[ShardEntry] = []
    subject: Subject | None = None


def load(path: Path) -> RunRecord:
    """Reads run.json.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    return read(path, RunRecord, "record of the run")
