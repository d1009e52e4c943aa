"""fetch, the data's part: where the pictures come from, and how they get here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeport import cards, datasets, digest
from cascadeport.errors import CascadeportError
from cascadeport.options import Options
from cascadeport.plan import Stage
from cascadeport.suggest import suggest
from cascadeport.targets import Target

if TYPE_CHECKING:
    from cascadeport.execute import Run


@dataclass(frozen=True)
class Source:
    """A data set as the plan sees it.

    Args:
        name: How results name it.
        root: Its folder; it may not exist before its stages are done.
        pictures: The folder of pictures below `root`.
        annotations: The annotation file below `root`.
        stages: What brings it here; empty for a folder of the user's.
        digests: What stages that read it take as inputs.
    """

    name: str
    root: Path
    pictures: str
    annotations: str
    stages: tuple[Stage, ...]
    digests: Mapping[str, str]

    def load(self, options: Options) -> datasets.Dataset:
        """Reads and checks the data set, or its first pictures where the options limit it."""
        return datasets.load(
            self.root,
            pictures=self.pictures,
            annotations=self.annotations,
            limit=options.limit,
            keep_going=options.keep_going,
            name=self.name,
        )


def wanted(options: Options, target: Target) -> str:
    """The data set of a run: the user's, else that of the model asked for, else the target's.

    Raises:
        CascadeportError: The model asked for has no card, or one with faults.
    """
    if options.data:
        return options.data
    if options.model:
        return cards.load(cards.find(options.model, options.models)).data or target.data
    return target.data


def source(options: Options, target: Target) -> Source:
    """Finds the data set that the user asked for: a name in models/data/, or a folder.

    Raises:
        CascadeportError: There is no such data set, or it has faults.
    """
    name = wanted(options, target)
    described = options.models / "data" / f"{name}.toml"
    if "/" not in name and described.is_file():
        return _described(name, described, options)
    root = Path(name).expanduser()
    if not root.is_dir():
        known = [path.stem for path in (options.models / "data").glob("*.toml")]
        raise CascadeportError(
            f"There is no data set named '{name}' and no folder of that path; "
            f"{suggest(name, known)}.",
            next="DATA= takes a name, or a folder in COCO layout.",
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
    return Source(
        name=dataset.name,
        root=root.resolve(),
        pictures=pictures,
        annotations=annotations,
        stages=(),
        digests={"dataset": dataset.digest},
    )


def _described(name: str, path: Path, options: Options) -> Source:
    description = datasets.describe(path)
    folder = options.build / "data" / name
    stage = (
        _drawn(name, description, folder)
        if isinstance(description, datasets.Scenes)
        else _fetched(name, description, folder)
    )
    return Source(
        name=name,
        root=folder,
        pictures=getattr(description, "pictures", datasets.PICTURES),
        annotations=getattr(description, "annotations", datasets.ANNOTATIONS),
        stages=(stage,),
        digests={"dataset": stage.key},
    )


def _drawn(name: str, scenes: datasets.Scenes, folder: Path) -> Stage:
    def work(run: Run, out: Path) -> None:
        from cascadeport.scenes import generate

        generate(out, scenes.count, scenes.seed, progress=run.reporter.update)

    return Stage(
        name="fetch",
        title=f"draw the {scenes.count} pictures of {name}",
        folder=folder,
        parameters={"scenes": {"count": scenes.count, "seed": scenes.seed}},
        inputs={"generator": digest.of_sources(Path(__file__).parents[1] / "scenes")},
        work=work,
    )


def _fetched(name: str, coco: datasets.Coco, folder: Path) -> Stage:
    def work(run: Run, out: Path) -> None:
        from cascadeport import fetch

        downloads = run.options.build / "downloads"
        fetch.bring(coco, downloads, out, progress=fetch.megabytes(run.reporter.update))

    return Stage(
        name="fetch",
        title=f"fetch {coco.title}",
        folder=folder,
        parameters={"members": {item.file: list(item.members) for item in coco.archives}},
        inputs={item.file: item.sha256 for item in coco.archives},
        work=work,
    )
