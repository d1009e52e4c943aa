"""fetch, the data's part: where the pictures come from, and how they get here."""

from __future__ import annotations

from pathlib import Path

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
    described = options.models / "data" / f"{name}.toml"
    if "/" not in name and is_file(described):
        return _described(name, described, options)
    root = user_path(name, "data set")
    if not is_dir(root):
        known = [path.stem for path in (options.models / "data").glob("*.toml")]
        raise CascadeportError(
            f"There is no data set named '{name}' and no folder of that path; "
            f"{suggest(name, known)}.",
            next="--data takes a name, or a folder in COCO layout.",
        )
    pictures = options.pictures or datasets.PICTURES
    annotations = options.annotations or datasets.ANNOTATIONS
    dataset = datasets.load(
        root,
        pictures=pictures,
        annotations=annotations,
        limit=options.limit,
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
