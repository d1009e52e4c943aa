"""Merges the shards of a job into what one run would have given, and refuses anything less."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from typing import Any, Dict, List, Sequence

from bundle.conditions import NAME as CONDITIONS
from bundle.digest import file_digest
from bundle.errors import BundleError
from bundle.files import make_folder, write_errors, write_json
from bundle.job import Job, read_job
from bundle.measure import Pass, read_times
from bundle.record import FORMAT, NAME, remove_record
from bundle.sharded.record import (
    TIMES,
    ShardRecord,
    device_names,
    differences,
    job_digest,
    network_digest,
    read_shard,
)
from bundle.sharded.rows import write_rows
from bundle.sharded.times import Part, summarise_fleet

KEPT = "shards"
"""The folder of what a merge keeps of every shard: its record, times and conditions."""
_KEPT_FILES = (NAME, TIMES, CONDITIONS)
_NAME = re.compile(r"shard-\d+-of-\d+\Z")
# What has to be the same on every host for the shards to be those of one run.
_SAME = (
    "python",
    "numpy",
    "opencv",
    "runtime",
    "runtime_version",
    "provider",
    "providers",
    "machine",
)
_JOINED = ("cpu", "platform")
_SHOWN = 8


def merge(path: str, out: str, folders: Sequence[str] = ()) -> Dict[str, Any]:
    """Merges all shards of the job in the file `path` into the folder `out`.

    Args:
        folders: The shards' folders; those below `out` unless there are some.

    Returns:
        The content of run.json. It is written last.

    Raises:
        BundleError: A shard is missing, there twice, altered, of another job or model, or was run
            by other code or packages; or a picture is missing or there twice.
    """
    job = read_job(path)
    records = [read_shard(folder) for folder in folders or _below(out)]
    _check_same(records, job_digest(path), network_digest(job))
    _check_complete(records)
    records.sort(key=lambda record: record.shard)
    make_folder(out)
    remove_record(out)
    write_rows(records, job.pictures, out)
    for record in records:
        _keep(record, out)
    merged = _record(job, records)
    write_json(os.path.join(out, NAME), merged)
    return merged


def kept_name(record: ShardRecord) -> str:
    """The name of a shard's folder below `KEPT`."""
    return "{}-of-{}".format(record.shard.index, record.shard.count)


def _below(out: str) -> List[str]:
    try:
        names = sorted(name for name in os.listdir(out) if _NAME.match(name))
    except OSError as failure:
        raise BundleError(
            "The folder cannot be read: {}.".format(failure.strerror or failure), out
        ) from None
    if not names:
        raise BundleError(
            "There are no shards.", out, "Run them, or name their folders: merge JOB OUT SHARD ..."
        )
    return [os.path.join(out, name) for name in names]


def _check_same(records: Sequence[ShardRecord], job: str, networks: str) -> None:
    for record in records:
        differs = differences(record, job, networks)
        if differs:
            raise BundleError(
                "Shard {} is of {}.".format(record.shard, ", ".join(differs)),
                record.folder,
                "Merge shards of this job only.",
            )
    first = records[0]
    for record in records[1:]:
        found = []
        if record.shard.count != first.shard.count:
            found.append("the number of shards")
        for name, key in (("the bundle", "digests"), ("simulation", "simulated")):
            if record.run.get(key) != first.run.get(key):
                found.append(name)
        mine, other = record.run["environment"], first.run["environment"]
        found += [key for key in _SAME if mine.get(key) != other.get(key)]
        if found:
            raise BundleError(
                "Shards {} and {} are not of one run: {} differs.".format(
                    first.shard, record.shard, ", ".join(found)
                ),
                "{} and {}".format(first.folder, record.folder),
                "Run all shards of a job in the same image, on hosts of the same architecture.",
            )


def _check_complete(records: Sequence[ShardRecord]) -> None:
    count = records[0].shard.count
    times = Counter(record.shard.index for record in records)
    twice = [index for index in sorted(times) if times[index] > 1]
    if twice:
        folders = [one.folder for one in records if one.shard.index == twice[0]]
        raise BundleError(
            "Shard {}/{} is there {} times.".format(twice[0], count, times[twice[0]]),
            ", ".join(folders[:_SHOWN]),
            "Name one folder of each shard.",
        )
    missing = [index for index in range(1, count + 1) if index not in times]
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN])) + ", ..." * (len(missing) > _SHOWN)
        raise BundleError(
            "{} of {} shards are missing: {}.".format(len(missing), count, shown),
            os.path.dirname(records[0].folder),
            "Run them: python -m bundle run JOB OUT --shard {}/{}".format(missing[0], count),
        )


def _keep(record: ShardRecord, out: str) -> None:
    """Keeps what the times and conditions of a shard can be derived from again."""
    folder = os.path.join(out, KEPT, kept_name(record))
    make_folder(folder)
    for name in _KEPT_FILES:
        path = os.path.join(folder, name)
        with write_errors(path):
            shutil.copyfile(os.path.join(record.folder, name), path)


def part(record: ShardRecord) -> Part:
    """The scored pass of a shard, from its times.

    Raises:
        BundleError: They cannot be read.
    """
    passes = read_times(os.path.join(record.folder, TIMES))
    times = passes[0].times if passes else Pass()
    return Part(record.device, record.began, times, record.run["summary"].get("bound_by"))


def _record(job: Job, records: Sequence[ShardRecord]) -> Dict[str, Any]:
    order = {picture.id: number for number, picture in enumerate(job.pictures)}
    skipped = [one for record in records for one in record.run["skipped"]]
    skipped.sort(key=lambda one: order.get(one["id"], -1))
    parts = [part(record) for record in records]
    peaks = [record.run.get("peak_rss_bytes") for record in records]
    known = [peak for peak in peaks if peak is not None]
    return {
        "format": FORMAT,
        "status": "partial" if skipped else "complete",
        "problems": [
            "shard {}: {}".format(record.shard, problem)
            for record in records
            for problem in record.run["problems"]
        ],
        "skipped": skipped,
        "pictures": sum(record.pictures for record in records),
        "simulated": bool(records[0].run.get("simulated")),
        "environment": _environment(records),
        "summary": summarise_fleet(parts),
        "digests": records[0].run["digests"],
        "warmup": sum(record.run["warmup"] for record in records),
        "peak_rss_bytes": max(known) if known else None,
        "began": min(record.began for record in records),
        "shards": [
            {
                "index": record.shard.index,
                "count": record.shard.count,
                "node": record.node,
                "machine": record.machine,
                "devices": device_names(record.run),
                "pictures": record.pictures,
                "began": record.began,
                "seconds": round(one.times.seconds, 4),
                "record": file_digest(os.path.join(record.folder, NAME)),
            }
            for record, one in zip(records, parts)
        ],
    }


def _environment(records: Sequence[ShardRecord]) -> Dict[str, Any]:
    """What all shards say of where they ran; what differs stays in their own records."""
    every = [record.run["environment"] for record in records]
    found = {
        key: value
        for key, value in every[0].items()
        if all(key in one and one[key] == value for one in every[1:])
    }
    for key in _JOINED:
        if key not in found and all(key in one for one in every):
            found[key] = "; ".join(sorted({str(one[key]) for one in every}))
    proofs: List[Any] = []
    for one in every:
        proofs += [proof for proof in one.get("device_proof") or [] if proof not in proofs]
    found["device_proof"] = proofs
    return found
