"""infer: the bundle's streaming pass over every picture of the data set."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascadeport import doctor, jobs
from cascadeport.cards import Card
from cascadeport.engines import Mount, Task
from cascadeport.errors import CascadeportError
from cascadeport.options import REPOSITORY, Options
from cascadeport.plan import Stage
from cascadeport.stages.data import Source
from cascadeport.targets import Target

if TYPE_CHECKING:
    from cascadeport.execute import Run

# Decoding and warming up are silent for a while; a network this slow is stuck.
_SILENCE_S = 600.0


@dataclass(frozen=True)
class Network:
    """The graph that a target runs.

    Args:
        path: Where it stands once the stages before are done.
        digest: The digest of its content, or the key of the stage that makes it.
    """

    path: Path
    digest: str


def stage(
    card: Card,
    target: Target,
    options: Options,
    source: Source,
    networks: Sequence[Network],
    runtime: Mapping[str, str],
    row: str,
) -> Stage:
    """Plans the pass.

    Args:
        networks: One for every shape of the card.
        runtime: What the engine says of itself before anything runs.
        row: The name of the result's folder.
    """
    name = f"{card.name}-{source.name}"
    if options.limit is not None:
        name += f"-first{options.limit}"
    threads = options.threads or os.cpu_count() or 1
    settings = jobs.settings(card, target, options, threads)

    def work(run: Run, folder: Path) -> None:
        _infer(run, folder, settings, source, networks)

    return Stage(
        name="infer",
        title=f"run {card.name} on {source.name} ({target.title})",
        folder=options.results / name / row / "infer",
        parameters={"settings": settings, "limit": options.limit, "runtime": dict(runtime)},
        inputs={
            **{
                f"network{card.input.suffix(shape)}": network.digest
                for shape, network in zip(card.input.canvases, networks, strict=True)
            },
            "bundle": _bundle_digest(),
            **source.digests,
        },
        work=work,
    )


def _bundle_digest() -> str:
    from bundle.digest import bundle_digest

    return str(bundle_digest())


def _infer(
    run: Run,
    folder: Path,
    settings: Mapping[str, Any],
    source: Source,
    networks: Sequence[Network],
) -> None:
    dataset = source.load(run.options)
    for warning in dataset.warnings:
        run.reporter.note(warning)
    card = run.plan.card
    jobs.check_categories(card, dataset)
    models = [
        Mount(network.path, f"/model{card.input.suffix(shape)}/{network.path.name}")
        for shape, network in zip(card.input.canvases, networks, strict=True)
    ]
    pictures = Mount(dataset.pictures_dir.resolve(), "/data")
    out = Mount(folder.resolve(), "/out", writable=True)
    code = Mount(REPOSITORY / "bundle", "/opt/cascadeport/bundle")
    job = jobs.compile_job(
        settings,
        dataset,
        models=[(run.engine.path(model), _sha256(model.source)) for model in models],
        pictures=run.engine.path(pictures),
    )
    (folder / "job.json").write_text(json.dumps(job, ensure_ascii=False), encoding="utf-8")
    inside = run.engine.path(out)
    # Asked now: building an image and converting a graph may have taken an hour.
    busy = doctor.busy(run.plan.target_name, run.plan.target, run.options)
    for sentence in busy:
        run.reporter.note(f"{sentence} The result will be INVALID.")
    run.engine.run(
        Task(
            stage="infer",
            argv=(
                *("python3", "-m", "bundle", "bins-run" if run.options.bins else "run"),
                *(f"{inside}/job.json", inside),
            ),
            mounts=(*models, pictures, out, code),
            log=folder / "infer.log",
            deadline_s=_SILENCE_S,
        ),
        run.reporter.event,
    )
    if not (folder / "run.json").is_file():
        raise CascadeportError(
            "The pass ended without its record.",
            where=str(folder / "infer.log"),
            next="Read the log; run again with --keep-failed to keep the folder.",
        )
    # Where it ran is the engine's to say: host, engine, and the image by its id.
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    record["engine"] = dict(run.engine.identity())
    record["problems"] += [f"not alone on the device: {sentence}" for sentence in busy]
    (folder / "run.json").write_text(
        json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def _sha256(path: Path) -> str:
    from cascadeport import digest

    return digest.of_file(path)
