"""fetch, the data's part: where the pictures come from, and how they get here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cascadeport import datasets, download
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import PACKAGE
from cascadeport.base.reading import is_dir, is_file, user_path
from cascadeport.base.suggest import suggest
from cascadeport.config import cards
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource
from cascadeport.core.stage import Stage
from cascadeport.pipeline.stages.quantise import CalibrationSource
from cascadeport.quantise.calibration import choose


def requested(options: Options, target: Target) -> str:
    """The data set of a run: the user's, else the requested model's, else the target's.

    Raises:
        CascadeportError: The requested model has no card, or one with errors.
    """
    if options.data:
        return options.data
    if options.model:
        return cards.load(cards.find(options.model, options.models)).data or target.data
    return target.data


def source(options: Options, target: Target) -> DataSource:
    """Finds the data set that the user asked for: a name in models/data/, or a folder.

    Raises:
        CascadeportError: There is no such data set, or it has errors.
    """
    name = requested(options, target)
    described = _description(name, options)
    if described is not None:
        return _described(name, described, options)
    root = _folder(
        name, "data set", options, next="--data takes a name, or a folder in COCO layout."
    )
    pictures = options.pictures or datasets.PICTURES
    annotations = options.annotations or datasets.ANNOTATIONS
    dataset = datasets.load(
        root,
        pictures=pictures,
        annotations=annotations,
        limit=options.limit,
        part=options.part,
        keep_going=options.keep_going,
    )
    return DataSource(
        name=dataset.name,
        root=root.resolve(),
        pictures=pictures,
        annotations=annotations,
        stages=(),
        digests={"dataset": dataset.digest},
    )


def _description(name: str, options: Options) -> Path | None:
    """The description in models/data/ of that name; None: there is none."""
    path = options.models / "data" / f"{name}.toml"
    return path if "/" not in name and is_file(path) else None


def _folder(name: str, what: str, options: Options, *, where: str = "", next: str) -> Path:
    """The folder that the user names where no description has that name.

    Raises:
        CascadeportError: There is none.
    """
    folder = user_path(name, what)
    if not is_dir(folder):
        known = [path.stem for path in (options.models / "data").glob("*.toml")]
        raise CascadeportError(
            f"There is no data set named '{name}' and no folder of that path; "
            f"{suggest(name, known)}.",
            where=where,
            next=next,
        )
    return folder


def calibration(options: Options, target: Target, evaluated: DataSource) -> CalibrationSource:
    """Finds the pictures to calibrate int8 on: a name in models/data/, or a folder of pictures.

    Args:
        evaluated: The data set of the run; its description may name others to calibrate on.

    Raises:
        CascadeportError: There is no such folder, or nothing says which pictures to use.
    """
    name = options.calibration
    if name is None:
        path = options.models / "data" / f"{evaluated.name}.toml"
        own = requested(options, target)
        if "/" not in own and is_file(path):
            name = datasets.describe(path).calibration
    if name is None:
        raise CascadeportError(
            f"Nothing says which pictures int8 is calibrated on for '{evaluated.name}': they must "
            "not be those that are evaluated.",
            where="--precision int8",
            next="Give --calibration FOLDER with some 30 to 300 pictures of the same kind, such as "
            "some of COCO's train2017; or name a description in the data set's (`calibration`).",
        )
    described = _description(name, options)
    if described is not None:
        found = _described(name, described, options)
        return CalibrationSource(
            name, found.root / found.pictures, found.stages, dict(found.digests)
        )
    folder = _folder(
        name,
        "folder of pictures to calibrate on",
        options,
        where=f"--calibration {name}",
        next="--calibration takes a name, or a folder of pictures.",
    )
    chosen = choose(folder, options.calibration_pictures)
    found_digest = digest.of_value([[one.name, one.sha256] for one in chosen])
    return CalibrationSource(
        folder.resolve().name, folder.resolve(), (), {"pictures": found_digest}
    )


def chosen(options: Options) -> dict[str, Any]:
    """Which pictures a stage's product is about, as parameters of the stage."""
    # Without a part the key is what it was before there were any: kept results stay valid.
    part = {} if options.part is None else {"part": options.part}
    return {"limit": options.limit, **part}


def _described(name: str, path: Path, options: Options) -> DataSource:
    description = datasets.describe(path)
    folder = options.build / "data" / name
    stage = (
        _drawn(name, description, folder)
        if isinstance(description, datasets.Scenes)
        else _fetched(name, description, folder)
    )
    return DataSource(
        name=name,
        root=folder,
        pictures=getattr(description, "pictures", datasets.PICTURES),
        annotations=getattr(description, "annotations", datasets.ANNOTATIONS),
        stages=(stage,),
        digests={"dataset": stage.key},
    )


def _drawn(name: str, scenes: datasets.Scenes, folder: Path) -> Stage:
    def work(context: Context, out: Path) -> None:
        from cascadeport.scenes import generate

        generate(out, scenes.count, scenes.seed, progress=context.reporter.update)

    return Stage(
        name="fetch",
        title=f"draw the {scenes.count} pictures of {name}",
        folder=folder,
        parameters={"scenes": {"count": scenes.count, "seed": scenes.seed}},
        inputs={"generator": digest.of_sources(PACKAGE / "scenes")},
        work=work,
    )


def _fetched(name: str, coco: datasets.Coco, folder: Path) -> Stage:
    def work(context: Context, out: Path) -> None:

        downloads = context.options.build / "downloads"
        download.download_dataset(
            coco, downloads, out, progress=download.megabytes(context.reporter.update)
        )

    return Stage(
        name="fetch",
        title=f"fetch {coco.title}",
        folder=folder,
        parameters={"members": {item.file: list(item.members) for item in coco.archives}},
        inputs={item.file: item.sha256 for item in coco.archives},
        work=work,
    )
