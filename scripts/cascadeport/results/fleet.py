"""A pass in shards: its times and conditions, derived again from what every shard left."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.errors import BundleError
from bundle.sharded import record as shard_records
from bundle.sharded.merge import KEPT, part
from bundle.sharded.record import ShardRecord
from bundle.sharded.times import summarise_fleet
from bundle.shards import Shard
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.results import conditions as conditions_of_pass
from cascadeport.results import run_record
from cascadeport.results.conditions import Conditions
from cascadeport.results.differences import differences
from cascadeport.results.run_record import RunRecord, ShardEntry, Summary
from cascadeport.results.schema import Record
from cascadeport.results.times import derive as derive_times
from cascadeport.results.times import impossible

_DIGITS = re.compile(r"[\d.]+")


class ShardFacts(Record):
    """A shard as a result shows it: where and when it ran, and under which conditions."""

    index: int
    node: str
    devices: list[str]
    pictures: int
    began: float
    seconds: float
    conditions: Conditions | None = None


class Fleet(Record):
    """What ran a pass in shards. `machines` counts the hosts' running systems."""

    shards: list[ShardFacts]
    nodes: int
    machines: int
    devices: int


@dataclass(frozen=True)
class Derived:
    """What the shards of a pass say together.

    Args:
        summary: The times of the fleet.
        fleet: What ran it.
        remarks: What has to be said in the row, a sentence each.
        problems: What is wrong, a clause each.
    """

    summary: Summary
    fleet: Fleet
    remarks: tuple[str, ...]
    problems: tuple[str, ...]


def derive(
    folder: Path, run: RunRecord, settings: Mapping[str, Any], expected: list[int]
) -> Derived:
    """Derives times and conditions of a pass in shards again, and compares them with run.json's.

    Args:
        folder: The pass's folder.
        run: Its run.json.
        settings: Its job, without networks and pictures.
        expected: The ids of the pictures, in the order of the job.
    """
    count = len(run.shards)
    problems, parts, facts = [], [], []
    remarks: dict[tuple[str, str], str] = {}
    if [(one.index, one.count) for one in run.shards] != [(k + 1, count) for k in range(count)]:
        problems.append("infer/run.json does not name every shard once")
        return Derived(Summary(), _fleet([], run), (), tuple(problems))
    for entry in run.shards:
        shard = Shard(entry.index, count)
        try:
            record, own = _read(folder, entry)
        except (BundleError, CascadeportError) as error:
            where = Path(error.where.split(",")[0]).name
            problems.append(f"shard {shard}: {where}: {error.what.rstrip('.')}")
            continue
        there = Path(record.folder)
        share = shard.take(expected)
        # A shard of no pictures has no times; there may be more shards than pictures.
        _, found = derive_times(there, own, settings, share) if share else (None, [])
        conditions, more = conditions_of_pass.derive(there, own, settings)
        problems += [f"shard {shard}: {one}" for one in _named(entry, record, own, run)]
        problems += [f"shard {shard}: {one}" for one in (*found, *more)]
        parts.append(part(record))
        facts.append(_facts(entry, conditions))
        for sentence in conditions_of_pass.remarks(conditions):
            # Of the shards of a node the first one speaks for all: figures differ a little.
            remarks.setdefault((entry.node, _DIGITS.sub("", sentence)), sentence)
    summary = Summary.model_validate(summarise_fleet(parts))
    stated, derived = (one.model_dump(mode="json") for one in (run.summary, summary))
    problems += [
        f"infer/run.json: {one} by the times of its shards"
        for one in differences(stated, derived, "summary")
    ]
    fleet = _fleet(facts, run)
    return Derived(
        summary,
        fleet,
        (
            _sentence(fleet, summary, run),
            *(f"On {node}: {text}" for (node, _), text in remarks.items()),
        ),
        (*problems, *impossible(summary)),
    )


def _read(folder: Path, entry: ShardEntry) -> tuple[ShardRecord, RunRecord]:
    """A shard's record as the bundle reads it, and as this package does."""
    there = folder / KEPT / f"{entry.index}-of-{entry.count}"
    record = shard_records.read_kept(str(there))
    return record, run_record.load(there / "run.json")


def _named(entry: ShardEntry, record: ShardRecord, own: RunRecord, run: RunRecord) -> list[str]:
    """Whether a shard's record is the one that the pass's names, and of the same pass."""
    found = []
    if digest.of_file(Path(record.folder) / "run.json") != entry.record:
        found.append("its run.json is not the one that infer/run.json names")
    stated = (entry.index, entry.node, entry.pictures, entry.began)
    if stated != (record.shard.index, record.node, record.pictures, record.began):
        found.append("infer/run.json says something else of it than its run.json")
    if own.digests != run.digests or own.simulated != run.simulated:
        found.append("another network, bundle or device ran than infer/run.json says")
    return found


def _facts(entry: ShardEntry, conditions: Conditions | None) -> ShardFacts:
    return ShardFacts(
        index=entry.index,
        node=entry.node,
        devices=entry.devices,
        pictures=entry.pictures,
        began=entry.began,
        seconds=entry.seconds,
        conditions=conditions,
    )


def _fleet(facts: list[ShardFacts], run: RunRecord) -> Fleet:
    return Fleet(
        shards=facts,
        nodes=len({one.node for one in run.shards}),
        machines=len({one.machine for one in run.shards}),
        devices=len({(one.node, *one.devices) for one in run.shards}),
    )


def _sentence(fleet: Fleet, summary: Summary, run: RunRecord) -> str:
    """What the row's times are, so that nobody takes them for one device's."""
    devices = "1 device" if fleet.devices == 1 else f"{fleet.devices} devices"
    nodes = "" if fleet.nodes == fleet.devices else f" in {fleet.nodes} hosts"
    machines = ""
    if fleet.machines != fleet.nodes:
        # Nodes may be containers, or namespaces: they share what one system has.
        kernels = "1 running system" if fleet.machines == 1 else f"{fleet.machines} running systems"
        machines = f" ({fleet.nodes} nodes, {kernels})"
    text = (
        f"Its times are a fleet's: {len(run.shards)} shards on {devices}{nodes}{machines}, "
        "together from the first one's beginning to the last one's end, by the hosts' clocks"
    )
    rates = [one.end_to_end_ips for one in summary.devices if one.end_to_end_ips]
    if rates:
        low, high = (f"{value:.2f}" for value in (min(rates), max(rates)))
        each = low if low == high else f"{low} to {high}"
        text += f"; a device alone did {each} pictures per second end to end"
    return f"{text}. They do not compare with a row of one device."
