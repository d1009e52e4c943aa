"""fetch, the checkpoint's part, and export: from the checkpoint to the neutral graph."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascadeport import download
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.base.paths import IMAGES, REPOSITORY
from cascadeport.base.reading import read_record, user_path
from cascadeport.base.suggest import suggest
from cascadeport.config.cards import MULTIPLE, Card, Checkpoint, Shape
from cascadeport.config.options import Options
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource, Plan
from cascadeport.core.stage import Content, Stage
from cascadeport.core.task import Mount, Task
from cascadeport.datasets import Item

NEUTRAL = "neutral.onnx"
RECORD = "export.json"
EXPORTER = IMAGES / "export"
ENVIRONMENT = REPOSITORY / ".venv-export"
# The variable that names an environment elsewhere.
ELSEWHERE = "CASCADEPORT_EXPORT_ENV"
# glibc gives freed memory back to the kernel and faults it in again at every layer, which doubles
# the time of a forward pass (images/export/Dockerfile).
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "17179869184",
    "MALLOC_TOP_PAD_": "268435456",
}
# One picture is traced, three others prove that the graph holds on them too.
_PICTURES = 4
# The R101 takes minutes per picture on a slow machine before it says anything.
_SILENCE_S = 1800.0


@dataclass(frozen=True)
class Weights:
    """Where the weights come from: a file, or a seed.

    Args:
        known: What the stage's key says of them.
        path: The checkpoint, once the stages before are done; None: random weights.
        sha256: Its digest or the first digits of it, where one is known.
        seed: Of random weights.
    """

    known: Mapping[str, str | Content]
    path: Path | None = None
    sha256: str = ""
    seed: int | None = None


def stages(
    context: Context, card: Card, checkpoint: Checkpoint, source: DataSource
) -> tuple[Stage, ...]:
    """Plans fetch and export of a card's checkpoint, or the export of random weights.

    There is one export: other shapes are made of its graph (graph/reshaping.py). PyTorch's own
    detections are kept at every shape of the card.
    """
    if checkpoint.config is None:
        raise CascadeportError(
            f"The card '{card.name}' does not say how its checkpoint is exported.",
            where="checkpoint.config",
            next="Name the configuration in images/export/configs/, or give a [graph].",
        )
    config = checkpoint.config
    path = EXPORTER / "configs" / f"{config}.py"
    if not path.is_file():
        known = [file.stem for file in path.parent.glob("*.py")]
        raise CascadeportError(
            f"There is no configuration '{config}'; {suggest(config, known)}.",
            where=f"card {card.name}: checkpoint.config",
            next="It is the name of a file in images/export/configs/, without .py.",
        )
    for shape in (*card.own_canvases, *card.input.canvases):
        _check_shape(card, shape)
    options = context.options
    folder = options.build / "models" / card.name
    before: tuple[Stage, ...] = ()
    if card.seed is not None:
        # They are calibrated on the data set's first picture.
        weights = Weights({"random_weights": str(card.seed), **source.digests}, seed=card.seed)
    elif own := _own(card, checkpoint, options):
        weights = own
    else:
        fetching = _fetch(card, checkpoint, folder / "checkpoint")
        before = (fetching,)
        weights = Weights(
            {"checkpoint": Content(fetching.folder / _file(checkpoint))},
            fetching.folder / _file(checkpoint),
            _expected(checkpoint),
        )

    runtime = _runtime(context)
    inputs = {
        **weights.known,
        "exporter": digest.of_sources(EXPORTER / "exporter"),
        "config": digest.of_file(path),
    }

    shape = card.traced
    parameters: dict[str, Any] = {"config": config, "shape": list(shape)}
    if weights.path is None:
        parameters["calibrated"] = list(shape)
    if len(card.own_canvases) > 1:
        parameters["also"] = [list(other) for other in card.own_canvases[1:]]

    def work(context: Context, out: Path) -> None:
        _export(context, out, config, weights, card, shape, source)

    exporting = Stage(
        name="export",
        title=f"export {card.name} to the neutral graph",
        folder=folder / "export",
        parameters={**parameters, "padding": card.input.padding, "runtime": runtime},
        inputs=inputs,
        work=work,
    )
    return (*before, exporting)


def _check_shape(card: Card, shape: Shape) -> None:
    side = next((side for side in shape if side % MULTIPLE), 0)
    if side:
        near = max(MULTIPLE, round(side / MULTIPLE) * MULTIPLE)
        raise CascadeportError(
            f"The network's picture of {shape[0]} x {shape[1]} cannot be halved five times: each "
            f"side must be a multiple of {MULTIPLE}.",
            where=f"card {card.name}: input.size",
            next=f"The nearest is {near}.",
        )


def model_digest(card: Card, stages: Sequence[Stage]) -> str:
    """The digest of what was trained; of random weights, of all that they are drawn from."""
    if card.seed is None:
        return card.model_digest
    exporting = next(stage for stage in stages if stage.name == "export")
    parameters = {key: value for key, value in exporting.parameters.items() if key != "runtime"}
    return digest.of_value([exporting.digests, parameters])


def exported_checkpoint(stages: Sequence[Stage]) -> str | None:
    """The sha256 of the checkpoint that the stages exported, from their own records.

    A card may have only its first digits.

    Returns:
        None: nothing was exported, or random weights were.

    Raises:
        CascadeportError: The record of the export cannot be read.
    """
    exporting = next((stage for stage in stages if stage.name == "export"), None)
    if exporting is None:
        return None
    remedy = f"Remove {exporting.folder} and run the same command again."
    model = read_record(exporting.folder / RECORD, "record of the export", next=remedy).get("model")
    found = model.get("checkpoint_sha256") if isinstance(model, dict) else None
    return None if found is None else str(found)


def _file(checkpoint: Checkpoint) -> str:
    return checkpoint.urls[0].rsplit("/", 1)[-1]


def _expected(checkpoint: Checkpoint) -> str:
    return checkpoint.sha256 or checkpoint.sha256_prefix or ""


def _own(card: Card, checkpoint: Checkpoint, options: Options) -> Weights | None:
    """The user's own copy, or the file beside the card; None: it is to be fetched.

    It is checked where it lies: a wrong file is an error before anything starts.
    """
    expected = _expected(checkpoint)
    if options.checkpoint is not None:
        path = user_path(str(options.checkpoint), "checkpoint").resolve()
    elif checkpoint.path is None:
        return None
    else:
        path = card.file(checkpoint.path)
        if checkpoint.urls and not path.is_file():
            return None
        if not expected:
            # A card's author can leave out the digest of a file that he hands on with it.
            return Weights({"checkpoint": digest.of_file(path)}, path)
    source = download.Source(card.name, (str(path),), expected, checkpoint.size_bytes)
    return Weights({"checkpoint": download.check(path, source).sha256}, path, expected)


def _fetch(card: Card, checkpoint: Checkpoint, folder: Path) -> Stage:
    source = download.Source(
        card.name, checkpoint.urls, _expected(checkpoint), checkpoint.size_bytes
    )
    name = _file(checkpoint)

    def work(context: Context, out: Path) -> None:
        downloads = context.options.build / "downloads"
        found = download.download_file(
            source, downloads / name, progress=download.megabytes(context.reporter.update)
        )
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


def _runtime(context: Context) -> dict[str, str]:
    """Where the export runs: in its own environment on this machine, or in its image."""
    if not context.engine.in_containers:
        return {"engine": "local"}
    return dict(context.engine.planned("export"))


def require(plan: Plan, context: Context) -> None:
    """Reports a missing environment before anything has been fetched for the export.

    Raises:
        CascadeportError: The plan exports on this machine, and there is no environment.
    """
    exporting = [stage for stage in plan.stages if stage.name == "export"]
    if not context.engine.in_containers and any(
        not stage.freshness.is_up_to_date for stage in exporting
    ):
        environment(context)


def environment(context: Context) -> Path:
    """The folder of the export's environment on this machine.

    Raises:
        CascadeportError: It does not exist, or is incomplete.
    """
    folder = Path(context.variables.get(ELSEWHERE) or ENVIRONMENT)
    # build-env writes this stamp last: an environment without it is incomplete.
    if not (folder / "ready").exists():
        raise CascadeportError(
            "The export needs Python 3.7 with torch 1.7, which is not installed.",
            where=str(folder),
            next="Make it once with `make export-env PYTHON37=python3.7`, name one that is "
            f"elsewhere ({ELSEWHERE}=FOLDER), or use --engine docker.",
        )
    return folder


def _export(
    context: Context,
    out: Path,
    config: str,
    weights: Weights,
    card: Card,
    shape: Shape,
    source: DataSource,
) -> None:
    limit = context.options.limit
    # A pass over fewer pictures than a verification needs is no reason to verify less.
    dataset = source.load(
        replace(context.options, limit=limit and max(limit, _PICTURES), part=None)
    )
    engine = context.engine
    pictures = Mount(dataset.pictures_dir.resolve(), "/data")
    code = Mount(EXPORTER, "/opt/cascadeport/export")
    product = Mount(out.resolve(), "/out", writable=True)
    mounts = [pictures, code, product]
    if weights.path is None:
        chosen = ["--random-weights", str(weights.seed)]
        chosen += ["--calibration-shape", *map(str, card.traced)]
    else:
        given = Mount(weights.path, f"/checkpoint/{weights.path.name}")
        mounts.append(given)
        chosen = ["--checkpoint", engine.path(given)]
        chosen += ["--sha256", weights.sha256] if weights.sha256 else []
    inside = engine.path(code)
    local = not engine.in_containers
    python = str(environment(context) / "bin" / "python") if local else "python3"
    files = [f"{engine.path(pictures)}/{item.file}" for item in various(dataset.items)]
    argv = [
        *(python, "-m", "exporter"),
        *("--config", f"{inside}/configs/{config}.py", *chosen),
        *("--shape", *map(str, shape), "--padding", card.input.padding),
        *(word for other in card.own_canvases[1:] for word in ("--also-shape", *map(str, other))),
        *("--out", engine.path(product), "--pictures", *files),
    ]
    task = Task(
        stage="export",
        argv=argv,
        mounts=mounts,
        # The image sets this by itself.
        env=_MALLOC if local else {},
        code=EXPORTER,
        log=out / "export.log",
        deadline_s=_SILENCE_S,
        confined=True,
    )
    containment = engine.containment()
    context.reporter.line("sandbox", containment)
    engine.run(task, context.reporter.event)
    record = read_record(out / RECORD, "record of the export")
    write_json(out / RECORD, {**record, "containment": containment}, indent=2)


def various(items: Sequence[Item]) -> list[Item]:
    """Four pictures of different aspect ratios where there are any, in the data set's order.

    Raises:
        CascadeportError: There are fewer than four pictures.
    """
    if len(items) < _PICTURES:
        raise CascadeportError(
            f"The export is verified on {_PICTURES} pictures; the data set has {len(items)}.",
            next="Use a larger data set.",
        )
    first: dict[int, Item] = {}
    for item in items:
        first.setdefault(round(10 * item.width / item.height), item)
    chosen = list(first.values())[:_PICTURES]
    chosen += [item for item in items if item not in chosen][: _PICTURES - len(chosen)]
    return chosen
