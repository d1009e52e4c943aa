"""infer: the bundle's streaming pass over every picture of the data set."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cascadeport import backends
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.base.paths import REPOSITORY
from cascadeport.base.reading import read_record
from cascadeport.config import frames
from cascadeport.config.cards import Card
from cascadeport.config.targets import Semantics
from cascadeport.core import exclusive
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource, row_name
from cascadeport.core.stage import Stage
from cascadeport.core.task import Mount, Task
from cascadeport.datasets import Dataset
from cascadeport.pipeline import companions, pictures, sharded
from cascadeport.pipeline import job as jobs
from cascadeport.pipeline.stages import export, lower, quantise
from cascadeport.pipeline.stages.data import chosen
from cascadeport.pipeline.stages.lower import Graphs
from cascadeport.pipeline.subject import Subject
from cascadeport.pipeline.watch import Watch

# Decoding and warming up are silent for a while; a network this slow is stuck.
_SILENCE_S = 600.0
_REMEDY = "Read infer.log; run again with --keep-failed to keep the folder."


def stage(
    context: Context, card: Card, source: DataSource, graphs: Graphs, semantics: Semantics
) -> Stage:
    """Plans the pass.

    Args:
        graphs: The networks, and what makes them.
        semantics: What the user chose instead of the target's own.
    """
    options = context.options
    variant = backends.of(context.target).variant(options)
    name = f"{card.name}-{source.name}"
    if options.part is not None:
        name += f"-{options.part}"
    if options.limit is not None:
        name += f"-first{options.limit}"
    parameters_of_shards = _shards(context)
    threads = options.threads or os.cpu_count() or 1
    settings = jobs.settings(card, backends.of(context.target), options, threads)
    runtime = dict(context.engine.planned("infer"))

    def work(context: Context, folder: Path) -> None:
        dataset = source.load(context.options)
        subject = _subject(context, card, dataset, graphs, semantics)
        before = pictures.versions(dataset)
        _infer(context, folder, card, settings, dataset, graphs, made.identity)
        read, changed = _pictures(folder, dataset, before)
        changed += quantise.seen(graphs.stages, read)
        _record(folder, subject, settings, dataset, pictures.joint_digest(read), changed)

    made = Stage(
        name="infer",
        title=f"run {card.name} on {source.name} ({context.target.title})",
        folder=options.results / name / row_name(context.name, semantics, variant) / "infer",
        parameters={
            "target": context.name,
            "semantics": semantics.model_dump(),
            "simulate": options.simulate,
            "settings": settings,
            **chosen(options),
            "runtime": runtime,
            **parameters_of_shards,
        },
        inputs={
            **{
                f"network{suffix}": network.digest
                for suffix, network in zip(graphs.suffixes, graphs.networks, strict=True)
            },
            **{
                f"single{suffix}": network.digest
                for suffix, network in zip(graphs.suffixes, graphs.single, strict=False)
            },
            **lower.records(graphs.stages),
            "bundle": _bundle_digest(),
            **source.digests,
        },
        work=work,
        hashed=True,
    )
    return made


def _shards(context: Context) -> dict[str, Any]:
    """What shards add to the stage's parameters.

    Raises:
        CascadeportError: They were asked for where they cannot be, or are missing where they must
            be.
    """
    options = context.options
    command = backends.of(context.target).command(options)
    if options.shards is None:
        if not context.engine.spread:
            return {}
        raise CascadeportError(
            "A swarm runs a pass in shards, and nothing says in how many.",
            where="--engine swarm",
            next="Add --shards N: as many as the swarm has devices, or a few times that, so that "
            "less is lost with a node.",
        )
    if context.engine.spread and options.simulate:
        raise CascadeportError(
            "The stand-in for CANN is this machine's, and no other node of a swarm has it.",
            where="--engine swarm --simulate",
            next="Leave one of the two out.",
        )
    if command != "run":
        raise CascadeportError(
            "The vendor's tool runs all pictures at once: its pass has no shards.",
            where=f"--shards {options.shards}",
            next="Leave --bins or --shards out.",
        )
    if backends.of(context.target).pictures(options) > 1:
        raise CascadeportError(
            "In a shard, a picture goes through the network with others than in the whole, and "
            "what is found could differ.",
            where=f"--shards {options.shards} --batch {options.batch}",
            next="Leave one of the two out.",
        )
    return {"shards": options.shards}


def _bundle_digest() -> str:
    from bundle.digest import bundle_digest

    return str(bundle_digest())


def _infer(
    context: Context,
    folder: Path,
    card: Card,
    settings: Mapping[str, Any],
    dataset: Dataset,
    graphs: Graphs,
    identity: str,
) -> None:
    engine, options, reporter = context.engine, context.options, context.reporter
    for warning in dataset.warnings:
        reporter.note(warning)
    jobs.check_categories(card, dataset)
    models = [
        Mount(network.path, f"/model{suffix}/{network.path.name}")
        for suffix, network in zip(graphs.suffixes, graphs.networks, strict=True)
    ]
    single = [
        Mount(network.path, f"/single{suffix}/{network.path.name}")
        for suffix, network in zip(graphs.suffixes, graphs.single, strict=False)
    ]
    folder_of_pictures = Mount(dataset.pictures_dir.resolve(), "/data")
    shards = options.shards
    # Shards that are finished outlive a run that is not.
    place = folder if shards is None else sharded.place(folder.parent, identity)
    out = Mount(place.resolve(), "/out", writable=True)
    code = Mount(REPOSITORY / "bundle", "/opt/cascadeport/bundle")
    path = engine.path if shards is None else engine.path_of_shards
    job = jobs.compile_job(
        settings,
        dataset,
        models=[(path(model), digest.of_file(model.source)) for model in models],
        pictures=path(folder_of_pictures),
        single=[(path(model), digest.of_file(model.source)) for model in single],
    )
    (place / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    inside = path(out)
    backend = backends.of(context.target)
    devices = backend.devices(context)
    # Where containers run on another machine, its engine keeps them apart.
    here = devices if context.is_here and not engine.spread else ()
    holder = f"process {os.getpid()}, {options.results}"
    own_locks = context.variables.get("CASCADEPORT_LOCKS")
    folder_of_locks = Path(own_locks) if own_locks else exclusive.FOLDER
    with exclusive.held(here, holder, reporter.note, folder_of_locks) as locks:
        # Asked now: building an image and converting a graph may have taken an hour.
        busy = _busy(context)
        for sentence in busy:
            reporter.note(f"{sentence} The result will be INVALID.")
        load = os.getloadavg()[0] if context.is_here and not engine.spread else None
        task = Task(
            stage="infer",
            argv=(
                *("python3", "-m", "bundle", backend.command(options)),
                *(f"{inside}/job.json", inside),
            ),
            mounts=(*models, *single, folder_of_pictures, out, code),
            log=folder / "infer.log",
            deadline_s=_SILENCE_S,
            devices=devices,
            locks=locks,
        )
        with contextlib.nullcontext() if engine.spread else Watch(context, folder):
            if shards is None:
                engine.run(task, reporter.event)
            else:
                engine.run_shards(task, shards, reporter.event)
    if shards is not None:
        sharded.merge_into(folder, place)
    if not (folder / "run.json").is_file():
        raise CascadeportError(
            "The pass ended without its record.",
            where=str(folder / "infer.log"),
            next=_REMEDY,
        )
    # Where it ran is the engine's to say: host, engine, and the image by its id.
    record = _read(folder)
    record["engine"] = dict(engine.identity())
    record["date"] = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    if load is not None and isinstance(record.get("environment"), dict):
        # How many cores other work kept busy when the pass began.
        record["environment"]["load_before_pass"] = round(load, 2)
    if here and own_locks and isinstance(record.get("environment"), dict):
        record["environment"]["locks"] = own_locks
    record["problems"] += [f"not alone on the device: {text}" for text in busy]
    write_json(folder / "run.json", record)


def _read(folder: Path) -> dict[str, Any]:
    record = read_record(folder / "run.json", "record of the pass", next=_REMEDY)
    if not isinstance(record.setdefault("problems", []), list):
        raise CascadeportError(
            "The record of the pass is not in the format of this version.",
            where=f"{folder / 'run.json'}: problems is not a list",
            next=_REMEDY,
        )
    return record


def _subject(
    context: Context, card: Card, dataset: Dataset, graphs: Graphs, semantics: Semantics
) -> Subject:
    # Known in full only now: a card may pin a checkpoint by its first digits.
    checkpoint = export.exported_checkpoint(graphs.stages)
    return Subject(
        target=context.name,
        semantics=semantics,
        variant=backends.of(context.target).variant(context.options),
        frame=frames.title(context.options),
        model=card.name,
        seed=card.seed,
        model_digest=checkpoint or export.model_digest(card, graphs.stages),
        checkpoint_sha256=checkpoint,
        dataset_digest=dataset.digest,
        pictures=len(dataset.items),
        changes=tuple(lower.changes(graphs.stages)),
        gate=card.gate.overridden(context.target.gate),
    )


def _pictures(
    folder: Path, dataset: Dataset, before: Mapping[int, pictures.Version]
) -> tuple[dict[int, str], list[str]]:
    """The sha256 of the pictures that were read, by id, and which of them changed meanwhile."""
    found = pictures.read(folder)
    return found, pictures.changed(dataset, before, found)


def _record(
    folder: Path,
    subject: Subject,
    settings: Mapping[str, Any],
    dataset: Dataset,
    pictures_digest: str,
    changed: list[str],
) -> None:
    """Adds to run.json what the pass was about, and whether pictures depend on each other."""
    record = _read(folder)
    ids = companions.with_results([item.id for item in dataset.items], record)
    figures, _ = companions.compare(folder, settings, ids)
    if figures:
        record[companions.KEY] = {name: one.model_dump() for name, one in figures.items()}
    record["problems"] += changed
    record["subject"] = {**subject.model_dump(mode="json"), "pictures_digest": pictures_digest}
    write_json(folder / "run.json", record)


def _busy(context: Context) -> list[str]:
    """Who else uses the target's device at this moment, a sentence each; empty when nobody does."""
    if context.engine.spread:
        return []  # Its devices are in other hosts, each of which has a scheduler of its own.
    checks = [check for check in backends.of(context.target).checks if check.during_run]
    found = [check.run(context) for check in checks if check.concerns(context)]
    return [one.finding for one in found if one.status != "ok"]
