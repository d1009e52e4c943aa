"""What a finished shard says of itself in its run.json, and whether it still is what it says."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
from typing import Any, Dict, List, NamedTuple, Sequence

from bundle.conditions import NAME as CONDITIONS
from bundle.digest import bundle_digest, file_digest, joint_digest
from bundle.errors import BundleError
from bundle.files import write_json
from bundle.job import Job
from bundle.picture import DIGESTS
from bundle.record import NAME
from bundle.section import Section
from bundle.shards import Shard

DETECTIONS, GEOMETRY, TIMES = "detections.json", "geometry.jsonl", "times.csv"
FILES = (DETECTIONS, GEOMETRY, DIGESTS, TIMES, CONDITIONS)
"""The files of a shard whose digests are in its record."""
NODE_VARIABLE = "CASCADEPORT_NODE"
"""The name of the host that a container runs on, which cannot see it otherwise."""
_BOOT = "/proc/sys/kernel/random/boot_id"
_AGAIN = "Remove the folder and run the shard again."


class ShardRecord(NamedTuple):
    """A finished shard.

    Args:
        folder: Its folder.
        shard: Which one it is.
        job: The digest of its job.
        node: The name of its host.
        machine: What tells the running system of that host from every other one.
        run: Its whole run.json.
    """

    folder: str
    shard: Shard
    job: str
    node: str
    machine: str
    run: Dict[str, Any]

    @property
    def device(self) -> str:
        """What it ran on: its host, and the devices there."""
        return "{}: {}".format(self.node, ", ".join(device_names(self.run)))

    @property
    def pictures(self) -> int:
        """How many pictures have results."""
        return int(self.run["pictures"])

    @property
    def began(self) -> float:
        """When its scored pass began, in seconds since 1970 by the clock of its host."""
        return float(self.run["began"])


def device_names(run: Dict[str, Any]) -> List[str]:
    """The names of a pass's devices, each with its serial or the kernel's name if it has one."""
    names = []
    for one in run.get("environment", {}).get("device_proof") or [{}]:
        more = [one[key] for key in ("serial", "node") if one.get(key)]
        names.append(" ".join(map(str, [one.get("name") or "unknown", *more])))
    return names


def job_digest(path: str) -> str:
    """The digest of a job, whatever its files are called on the machine that runs it.

    Raises:
        BundleError: The file cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
        data = copy.deepcopy(data)
        del data["pictures"]["root"]
        for network in data["networks"] + data.get("single", []):
            for one in [network] + list(network.get("files") or []):
                del one["path"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as failure:
        raise BundleError(
            "The job cannot be read: {}.".format(failure),
            path,
            "The orchestrator writes this file; run it again.",
        ) from None
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode("ascii")).hexdigest()


def network_digest(job: Job) -> str:
    """The digest of a job's networks, as run.json has it."""
    return joint_digest(
        [
            joint_digest([network.sha256, *(file.sha256 for file in network.files)])
            for network in job.runner.networks
        ]
    )


def node_name() -> str:
    """The name of this host."""
    return os.environ.get(NODE_VARIABLE) or platform.node()


def stamp(folder: str, shard: Shard, job: str) -> None:
    """Completes a pass's run.json into the record of a shard.

    Raises:
        BundleError: A file cannot be read or written.
    """
    path = os.path.join(folder, NAME)
    run = _load(path)
    run["shard"] = {
        "index": shard.index,
        "count": shard.count,
        "job": job,
        "node": node_name(),
        "machine": _machine(),
        "files": digests(folder),
    }
    write_json(path, run)


def digests(folder: str) -> Dict[str, str]:
    """The digests of a shard's files.

    Raises:
        BundleError: One cannot be read.
    """
    found = {}
    for name in FILES:
        path = os.path.join(folder, name)
        try:
            found[name] = file_digest(path)
        except OSError as failure:
            raise BundleError(
                "A file of a shard cannot be read: {}.".format(failure.strerror or failure),
                path,
                _AGAIN,
            ) from None
    return found


def read_shard(folder: str) -> ShardRecord:
    """Reads the record of a shard and compares it with the shard's files.

    Raises:
        BundleError: It is not finished, is no shard's, or a file is not the one of the record.
    """
    path = os.path.join(folder, NAME)
    if not os.path.exists(path):
        raise BundleError(
            "This is not the folder of a finished shard: there is no {}.".format(NAME),
            folder,
            "Run the shard, or name the folders of finished ones only.",
        )
    record = read_kept(folder)
    run = record.run
    stated = run["shard"].get("files")
    changed = [
        name
        for name, digest in digests(folder).items()
        if not isinstance(stated, dict) or stated.get(name) != digest
    ]
    if changed:
        raise BundleError(
            "Shard {} has been altered: {} is not what its record says.".format(
                record.shard, ", ".join(changed)
            ),
            folder,
            _AGAIN,
        )
    return record


def read_kept(folder: str) -> ShardRecord:
    """Reads the record of a shard, and leaves the shard's files alone.

    Raises:
        BundleError: It cannot be read, or is no shard's.
    """
    path = os.path.join(folder, NAME)
    return _check(_load(path), folder, path)


def _load(path: str) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (OSError, ValueError, RecursionError) as failure:
        raise BundleError(
            "The record of a shard cannot be read: {}.".format(failure), path, _AGAIN
        ) from None
    if not isinstance(data, dict):
        raise BundleError("The record of a shard is not a JSON object.", path, _AGAIN)
    return data


def _check(run: Dict[str, Any], folder: str, path: str) -> ShardRecord:
    errors: List[str] = []
    top = Section(run, "", errors)
    section = top.section("shard")
    index, count = section.integer("index", 1), section.integer("count", 1)
    found = ShardRecord(
        folder=folder,
        shard=Shard(index, count),
        job=section.text("job"),
        node=section.text("node"),
        machine=section.text("machine"),
        run=run,
    )
    top.integer("pictures", 0)
    top.number("began")
    top.section("digests").text("bundle")
    top.section("digests").text("network")
    top.integer("warmup", 0)
    top.section("summary")
    environment = top.section("environment")
    if environment.has("device_proof"):
        environment.objects("device_proof")
    if not isinstance(run.get("peak_rss_bytes"), (int, type(None))):
        errors.append("peak_rss_bytes is not an integer")
    for one in top.objects("skipped"):
        one.integer("id", 0)
    if not isinstance(run.get("problems"), list):
        errors.append("problems is not a list")
    if index > count:
        errors.append("there is no shard {}".format(found.shard))
    if errors:
        raise BundleError(
            "This is not the record of a shard: {}.".format("; ".join(errors)), path, _AGAIN
        )
    return found


def _machine() -> str:
    """The id of the running system, which all containers of a host see; empty if unknown."""
    try:
        with open(_BOOT, encoding="ascii") as stream:
            return stream.read().strip()
    except (OSError, UnicodeDecodeError):
        return "unknown"


def differences(record: ShardRecord, job: str, networks: str) -> Sequence[str]:
    """What tells a shard from those of a job, a clause each.

    Args:
        job: The digest of the job.
        networks: The joint digest of its networks.
    """
    found = []
    if record.run["digests"]["network"] != networks:
        found.append("another model")
    elif record.job != job:
        found.append("another job: other pictures or settings")
    return found


def is_by_this_bundle(record: ShardRecord) -> bool:
    """Whether this very code ran it."""
    return bool(record.run["digests"]["bundle"] == bundle_digest())
