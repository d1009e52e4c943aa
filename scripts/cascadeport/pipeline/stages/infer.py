"""infer: the bundle's streaming pass over every picture of the data set."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cascadeport import backends
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.base.paths import REPOSITORY
from cascadeport.base.reading import read_record
from cascadeport.config.cards import Card
from cascadeport.config.targets import Semantics
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource, row_name
from cascadeport.core.stage import Network, Stage
from cascadeport.core.task import Mount, Task
from cascadeport.datasets import Dataset
from cascadeport.pipeline import job as jobs
from cascadeport.pipeline import pictures
from cascadeport.pipeline.stages import export, lower
from cascadeport.pipeline.stages.lower import Graphs
from cascadeport.pipeline.subject import Subject

# Decoding and warming up are silent for a while; a network this slow is stuck.
_SILENCE_S = 600.0
_REMEDY = "Read infer.log; run again with --keep-failed to keep the folder."


def stage(
    context: Context, card: Card, source: DataSource, graphs: Graphs, semantics: Semantics
) -> Stage:
    """Plans the pass.

    Args:
        graphs: The networks, one for every shape of the card, and what makes them.
        semantics: What the user chose instead of the target's own.
    """
    options = context.options
    variant = backends.of(context.target).variant(options)
    name = f"{card.name}-{source.name}"
    if options.limit is not None:
        name += f"-first{options.limit}"
    threads = options.threads or os.cpu_count() or 1
    settings = jobs.settings(card, backends.of(context.target), options, threads)
    runtime = dict(context.engine.planned("infer"))

    def work(context: Context, folder: Path) -> None:
        dataset = source.load(context.options)
        subject = _subject(context, card, dataset, graphs, semantics)
        before = pictures.versions(dataset)
        _infer(context, folder, card, settings, dataset, graphs.networks)
        _record(folder, subject, *_pictures(folder, dataset, before))

    return Stage(
        name="infer",
        title=f"run {card.name} on {source.name} ({context.target.title})",
        folder=options.results / name / row_name(context.name, semantics, variant) / "infer",
        parameters={
            "target": context.name,
            "semantics": semantics.model_dump(),
            "simulate": options.simulate,
            "settings": settings,
            "limit": options.limit,
            "runtime": runtime,
        },
        inputs={
            **{
                f"network{card.input.suffix(shape)}": network.digest
                for shape, network in zip(card.input.canvases, graphs.networks, strict=True)
            },
            **lower.records(graphs.stages),
            "bundle": _bundle_digest(),
            **source.digests,
        },
        work=work,
        hashed=True,
    )


def _bundle_digest() -> str:
    from bundle.digest import bundle_digest

    return str(bundle_digest())


def _infer(
    context: Context,
    folder: Path,
    card: Card,
    settings: Mapping[str, Any],
    dataset: Dataset,
    networks: Sequence[Network],
) -> None:
    engine, options, reporter = context.engine, context.options, context.reporter
    for warning in dataset.warnings:
        reporter.note(warning)
    jobs.check_categories(card, dataset)
    models = [
        Mount(network.path, f"/model{card.input.suffix(shape)}/{network.path.name}")
        for shape, network in zip(card.input.canvases, networks, strict=True)
    ]
    folder_of_pictures = Mount(dataset.pictures_dir.resolve(), "/data")
    out = Mount(folder.resolve(), "/out", writable=True)
    code = Mount(REPOSITORY / "bundle", "/opt/cascadeport/bundle")
    job = jobs.compile_job(
        settings,
        dataset,
        models=[(engine.path(model), digest.of_file(model.source)) for model in models],
        pictures=engine.path(folder_of_pictures),
    )
    (folder / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    inside = engine.path(out)
    # Asked now: building an image and converting a graph may have taken an hour.
    busy = _busy(context)
    for sentence in busy:
        reporter.note(f"{sentence} The result will be INVALID.")
    load = os.getloadavg()[0] if context.is_here else None
    engine.run(
        Task(
            stage="infer",
            argv=(
                *("python3", "-m", "bundle", backends.of(context.target).command(options)),
                *(f"{inside}/job.json", inside),
            ),
            mounts=(*models, folder_of_pictures, out, code),
            log=folder / "infer.log",
            deadline_s=_SILENCE_S,
        ),
        reporter.event,
    )
    if not (folder / "run.json").is_file():
        raise CascadeportError(
            "The pass ended without its record.",
            where=str(folder / "infer.log"),
            next=_REMEDY,
        )
    # Where it ran is the engine's to say: host, engine, and the image by its id.
    record = _read(folder)
    record["engine"] = dict(engine.identity())
    if load is not None and isinstance(record.get("environment"), dict):
        # How many cores other work kept busy when the pass began.
        record["environment"]["load_before_pass"] = round(load, 2)
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
        model=card.name,
        seed=card.seed,
        model_digest=checkpoint or export.model_digest(card, graphs.stages),
        checkpoint_sha256=checkpoint,
        dataset_digest=dataset.digest,
        pictures=len(dataset.items),
        changes=tuple(lower.changes(graphs.stages)),
    )


def _pictures(
    folder: Path, dataset: Dataset, before: Mapping[int, pictures.Version]
) -> tuple[str, list[str]]:
    """The digest of the pictures that were read, and which of them changed meanwhile."""
    found = pictures.read(folder)
    return pictures.joint_digest(found), pictures.changed(dataset, before, found)


def _record(folder: Path, subject: Subject, pictures_digest: str, changed: list[str]) -> None:
    """Adds to run.json what the pass was about."""
    record = _read(folder)
    record["problems"] += changed
    record["subject"] = {**subject.model_dump(mode="json"), "pictures_digest": pictures_digest}
    write_json(folder / "run.json", record)


def _busy(context: Context) -> list[str]:
    """Who else uses the target's device at this moment, a sentence each; empty when nobody does."""
    checks = [check for check in backends.of(context.target).checks if check.during_run]
    found = [check.run(context) for check in checks if check.concerns(context)]
    return [one.finding for one in found if one.status != "ok"]
