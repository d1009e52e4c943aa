"""fetch, the checkpoint's part, and export: from the checkpoint to the neutral graph."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeport import digest
from cascadeport.cards import Card, Checkpoint
from cascadeport.datasets import Item
from cascadeport.engines import Mount, Task, choose
from cascadeport.errors import CascadeportError
from cascadeport.options import REPOSITORY, Options
from cascadeport.plan import Stage
from cascadeport.stages.data import Source
from cascadeport.targets import Target

if TYPE_CHECKING:
    from cascadeport.execute import Run

NEUTRAL = "neutral.onnx"
EXPORTER = REPOSITORY / "images" / "export"
ENVIRONMENT = REPOSITORY / ".venv-export"
# One picture is traced, three others prove that the graph holds on them too.
_PICTURES = 4
# The R101 takes minutes per picture on a slow machine before it says anything.
_SILENCE_S = 1800.0


def stages(
    card: Card,
    checkpoint: Checkpoint,
    target: Target,
    engine: str,
    source: Source,
    options: Options,
) -> tuple[Stage, ...]:
    """Plans fetch and export of a card's checkpoint."""
    if checkpoint.config is None:
        raise CascadeportError(
            f"The card '{card.name}' does not say how its checkpoint is exported.",
            where="checkpoint.config",
            next="Name the configuration in images/export/configs/, or give a [graph].",
        )
    folder = options.build / "models" / card.name
    fetching = _fetch(card, checkpoint, folder / "checkpoint", options)
    path = (fetching.folder / _file(checkpoint)) if fetching else _own(card, checkpoint, options)
    known = fetching.key if fetching else digest.of_file(path)
    config = checkpoint.config

    def work(run: Run, out: Path) -> None:
        _export(run, out, config, path, checkpoint, card, source)

    exporting = Stage(
        name="export",
        title=f"export {card.name} to the neutral graph",
        folder=folder / "export",
        parameters={
            "config": config,
            "size": card.input.size,
            "padding": card.input.padding,
            "runtime": dict(_place(engine, target, options)),
        },
        inputs={
            "checkpoint": known,
            "exporter": digest.of_sources(EXPORTER / "exporter"),
            "config": digest.of_file(EXPORTER / "configs" / f"{config}.py"),
        },
        work=work,
    )
    return (fetching, exporting) if fetching else (exporting,)


def _file(checkpoint: Checkpoint) -> str:
    return checkpoint.urls[0].rsplit("/", 1)[-1]


def _expected(checkpoint: Checkpoint) -> str:
    return checkpoint.sha256 or checkpoint.sha256_prefix or ""


def _own(card: Card, checkpoint: Checkpoint, options: Options) -> Path:
    """The user's own copy, or the file beside the card."""
    if options.checkpoint is not None:
        return options.checkpoint.expanduser().resolve()
    assert checkpoint.path is not None
    return card.file(checkpoint.path)


def _fetch(card: Card, checkpoint: Checkpoint, folder: Path, options: Options) -> Stage | None:
    from cascadeport import fetch

    if options.checkpoint is None and checkpoint.path is not None:
        return None
    source = fetch.Source(card.name, checkpoint.urls, _expected(checkpoint), checkpoint.size_bytes)
    if options.checkpoint is not None:
        # Checked where it lies; a wrong file is an error before anything starts.
        fetch.check(options.checkpoint.expanduser(), source)
        return None
    name = _file(checkpoint)

    def work(run: Run, out: Path) -> None:
        downloads = run.options.build / "downloads"
        found = fetch.fetch(source, downloads / name, progress=fetch.megabytes(run.reporter.update))
        try:
            os.link(found.path, out / name)
        except OSError:  # another disk, or a file system without hard links
            shutil.copyfile(found.path, out / name)

    return Stage(
        name="fetch",
        title=f"fetch the checkpoint of {card.name}",
        folder=folder,
        parameters={"file": name},
        inputs={"checkpoint": _expected(checkpoint)},
        work=work,
    )


def _place(engine: str, target: Target, options: Options) -> dict[str, str]:
    """Where the export runs: its own environment if there is one, else its image."""
    if engine == "local":
        return {"engine": "local"}
    return dict(choose.identity("docker", "export", target, options))


def _python(engine: str) -> str:
    if engine != "local":
        return "python3"
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        raise CascadeportError(
            "The export needs Python 3.7 with torch 1.7, which is not installed.",
            where=str(ENVIRONMENT),
            next="Make it once with `make export-env PYTHON37=python3.7`, or set ENGINE=docker.",
        )
    return str(python)


def _export(
    run: Run,
    out: Path,
    config: str,
    path: Path,
    checkpoint: Checkpoint,
    card: Card,
    source: Source,
) -> None:
    dataset = source.load(run.options)
    engine = run.engine
    weights = Mount(path, f"/checkpoint/{path.name}")
    pictures = Mount(dataset.pictures_dir.resolve(), "/data")
    code = Mount(EXPORTER, "/opt/cascadeport/export")
    product = Mount(out.resolve(), "/out", writable=True)
    inside = engine.path(code)
    files = [f"{engine.path(pictures)}/{item.file}" for item in various(dataset.items)]
    size = str(card.input.size)
    argv = [
        *(_python(run.plan.engine), "-m", "exporter"),
        *("--config", f"{inside}/configs/{config}.py"),
        *("--checkpoint", engine.path(weights), "--sha256", _expected(checkpoint)),
        *("--shape", size, size, "--padding", card.input.padding),
        *("--out", engine.path(product), "--pictures", *files),
    ]
    task = Task(
        stage="export",
        argv=argv,
        mounts=(weights, pictures, code, product),
        env={"PYTHONPATH": inside},
        log=out / "export.log",
        deadline_s=_SILENCE_S,
    )
    engine.run(task, run.reporter.event)


def various(items: Sequence[Item]) -> list[Item]:
    """Four pictures of different aspect ratios where there are any, in the data set's order.

    Raises:
        CascadeportError: There are fewer than four pictures.
    """
    if len(items) < _PICTURES:
        raise CascadeportError(
            f"The export is verified on {_PICTURES} pictures; the data set has {len(items)}.",
            next="Use a larger data set, or a larger LIMIT.",
        )
    first: dict[int, Item] = {}
    for item in items:
        first.setdefault(round(10 * item.width / item.height), item)
    chosen = list(first.values())[:_PICTURES]
    chosen += [item for item in items if item not in chosen][: _PICTURES - len(chosen)]
    return chosen
