"""The two rows to explain: what ran, on which pictures, and what it found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport import backends, datasets
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import is_dir, is_file, read_record
from cascadeport.base.suggest import suggest
from cascadeport.config import cards, frames
from cascadeport.config.cards import Card
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.backend import Backend
from cascadeport.datasets import Dataset
from cascadeport.pipeline import companions
from cascadeport.pipeline.subject import Subject
from cascadeport.results import result as results
from cascadeport.results import settings
from cascadeport.results.result import Result

_INFER = "infer"
_REMEDY = "Run the target again."


@dataclass(frozen=True)
class Row:
    """One row of a comparison.

    Attributes:
        name: The name of its folder.
        folder: results/<model>-<data>/<row>.
        result: result.json.
        subject: What its pass was about.
        job: The job that ran (docs/architecture.md).
        target: The target's row of targets.toml, with the semantics of the pass.
        card: The model's card.
    """

    name: str
    folder: Path
    result: Result
    subject: Subject
    job: Mapping[str, Any]
    target: Target
    card: Card

    @property
    def backend(self) -> Backend[Any]:
        """The backend of its target."""
        return backends.of(self.target)

    @property
    def rules(self) -> Mapping[str, str]:
        """What its device computes otherwise than its graph says, a clause by each rule's name."""
        return self.backend.rules(self.subject.variant)

    def emulated(self, network: Path, out: Path, rules: Collection[str]) -> Path:
        """A graph for onnxruntime that computes what its device does (`Backend.emulated`)."""
        return self.backend.emulated(network, out, rules, self.subject.variant)

    @property
    def inputs(self) -> Mapping[str, str]:
        """The digests of what its pass read."""
        record = read_record(self.folder / _INFER / "stage.json", "record", next=_REMEDY)
        found = record.get("inputs", {})
        return {str(key): str(value) for key, value in found.items()}

    @property
    def engine(self) -> str:
        """`local` or `docker`."""
        stated = self.result.run.model_dump().get("engine", {})
        name = stated.get("engine") or stated.get("name") if isinstance(stated, dict) else None
        return name if name in ("local", "docker") else self.target.engine

    def detections(self) -> dict[int, list[dict[str, Any]]]:
        """Its detections by picture, in COCO's results format."""
        import json

        from cascadeport.base.reading import RECORD_LIMIT, read_bytes

        path = self.folder / _INFER / "detections.json"
        content = read_bytes(path, "file of detections", limit=RECORD_LIMIT, next=_REMEDY)
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        try:
            for one in json.loads(content):
                found[int(one["image_id"])].append(one)
        except (ValueError, KeyError, TypeError) as error:
            raise CascadeportError(
                f"The detections cannot be read: {error}.", where=str(path), next=_REMEDY
            ) from None
        return found


def find(options: Options, known: Mapping[str, Target], first: str, second: str) -> tuple[Row, Row]:
    """The rows of two names: a target's row (`cpu`, `310P3-float16`) or a row's folder.

    Raises:
        CascadeportError: One of them does not exist or did not run, or the two are not about the
            same model and the same data set.
    """
    if first == second:
        raise CascadeportError(
            f"'{first}' is both rows; there is nothing to explain.",
            next="Name two rows: cascadeport explain cpu 310P3.",
        )
    folders = _folders(options, known, first, second)
    one, other = (_read(folder, options, known) for folder in folders)
    _check(one, other)
    return one, other


def _folders(
    options: Options, known: Mapping[str, Target], first: str, second: str
) -> tuple[Path, Path]:
    given = [_as_path(name) for name in (first, second)]
    beside = next((path.parent for path in given if path is not None), None)
    if None not in given:
        return given[0], given[1]  # type: ignore[return-value]
    places = [beside] if beside else _places(options)
    names = [name for name, path in zip((first, second), given, strict=True) if path is None]
    having = [place for place in places if all(_ran(place / name) for name in names)]
    if not having:
        raise _missing(options, known, places, names)
    if len(having) > 1:
        raise CascadeportError(
            f"Both rows are in {len(having)} comparisons.",
            where=str(options.results),
            details=[place.name for place in having],
            next="Choose one: --model NAME, --data NAME, or the rows' folders instead of names.",
        )
    found = [path or having[0] / name for path, name in zip(given, (first, second), strict=True)]
    return found[0], found[1]


def _as_path(name: str) -> Path | None:
    if "/" not in name and not _ran(Path(name)):
        return None
    path = Path(name).expanduser().resolve()
    if not is_dir(path):
        raise CascadeportError(
            "There is no such folder of a row.",
            where=str(path),
            next="A row's folder is results/<model>-<data>/<row>.",
        )
    return path


def _ran(folder: Path) -> bool:
    return is_file(folder / _INFER / "run.json")


def _places(options: Options) -> list[Path]:
    """The folders of comparisons that the options leave to choose from."""
    try:
        found = sorted(path for path in options.results.iterdir() if path.is_dir())
    except OSError:
        return []
    if options.model:
        name = cards.load(cards.find(options.model, options.models)).name
        found = [path for path in found if path.name.startswith(f"{name}-")]
    if options.data:
        ending = f"-{Path(options.data).name}"
        if options.limit is not None:
            ending += f"-first{options.limit}"
        found = [path for path in found if path.name.endswith(ending)]
    elif options.limit is not None:
        found = [path for path in found if path.name.endswith(f"-first{options.limit}")]
    return found


def _missing(
    options: Options, known: Mapping[str, Target], places: list[Path], names: list[str]
) -> CascadeportError:
    present = sorted(
        {path.parent.parent.name for place in places for path in place.glob("*/infer/run.json")}
    )
    absent = [name for name in names if name not in present]
    if not absent:
        return CascadeportError(
            f"No comparison has both {' and '.join(names)}.",
            where=str(options.results),
            details=[
                f"{place.name}: {', '.join(rows)}"
                for place in places
                if (
                    rows := sorted(
                        path.parent.parent.name for path in place.glob("*/infer/run.json")
                    )
                )
            ],
            next="Run the other target with the same --model and --data.",
        )
    name = absent[0]
    if name in known:
        what = f"Nothing of {name} ran here; the table has at most published figures of it."
    else:
        what = f"There is no finished row '{name}'; {suggest(name, present)}."
    return CascadeportError(
        what,
        where=str(options.results),
        next=f"Run it first: cascadeport all --target={name.split('-')[0]}"
        if name.split("-")[0] in known
        else "Rows there are: " + (", ".join(present) or "none") + ".",
    )


def _read(folder: Path, options: Options, known: Mapping[str, Target]) -> Row:
    result = results.load(folder / results.NAME)
    subject = result.run.subject
    if subject is None:
        raise CascadeportError(
            "The record of the pass does not say what it was about.",
            where=str(folder / _INFER / "run.json"),
            next=_REMEDY,
        )
    if subject.target not in known:
        raise CascadeportError(
            f"targets.toml has no target '{subject.target}'; {suggest(subject.target, known)}.",
            where=str(folder),
            next="Add its row to targets.toml again, or run the target that there is now.",
        )
    target = known[subject.target]
    semantics = target.semantics.overridden(subject.semantics)
    job = read_record(folder / _INFER / "job.json", "job", next=_REMEDY)
    return Row(
        name=folder.name,
        folder=folder,
        result=result,
        subject=subject,
        job=job,
        target=target.model_copy(update={"semantics": semantics}),
        card=frames.of_job(_card(subject, options), job),
    )


def _card(subject: Subject, options: Options) -> Card:
    stem = subject.model
    if subject.seed is not None:
        stem = stem.removesuffix(f"-random{subject.seed}")
    card = cards.load(cards.find(options.model or stem, options.models))
    if subject.seed is not None:
        card = card.with_random_weights(subject.seed)
    if card.name != subject.model:
        raise CascadeportError(
            f"The rows are about the model {subject.model}, not {card.name}.",
            where=f"--model {options.model}",
            next=f"Give the card of {subject.model}.",
        )
    return card


def _check(one: Row, other: Row) -> None:
    for row in (one, other):
        if companions.at_once(row.job) > 1:
            raise CascadeportError(
                f"The network of {row.name} takes several pictures at once, and tensors are "
                "compared of one picture.",
                where=str(row.folder),
                next="Explain the row without BATCH: its network is lowered from the same graph.",
            )
    first, second = one.result, other.result
    if first.model.name != second.model.name or first.model_digest != second.model_digest:
        raise CascadeportError(
            "The rows are about different models: nothing that differs between them is the "
            "targets'.",
            details=[
                f"{row.name}: {row.result.model.name} ({row.result.model_digest[:12]})"
                for row in (one, other)
            ],
            next="Run both targets with the same model.",
        )
    if first.dataset_digest != second.dataset_digest:
        raise CascadeportError(
            "The rows are about different pictures.",
            details=[
                f"{row.name}: {row.result.dataset.name}, {row.result.dataset.pictures} pictures "
                f"({row.result.dataset_digest[:12]})"
                for row in (one, other)
            ],
            next="Run both targets on the same data set.",
        )


def differences_of_settings(one: Row, other: Row) -> list[str]:
    """The card's settings that differ, by name: a cause that no tensor shows."""
    return settings.different(one.result.settings, other.result.settings)


def dataset(row: Row, options: Options) -> Dataset:
    """The data set of a row, as it is now.

    Raises:
        CascadeportError: It cannot be read, or is another one now.
    """
    facts = row.result.dataset
    root = Path(options.data) if options.data and "/" in options.data else Path(facts.root)
    annotations = Path(facts.annotations)
    found = datasets.load(
        root,
        pictures=options.pictures or _pictures_folder(row, root),
        annotations=options.annotations
        or (
            annotations.relative_to(facts.root).as_posix()
            if facts.root in str(annotations)
            else datasets.ANNOTATIONS
        ),
        limit=facts.pictures,
        keep_going=True,
        name=facts.name,
    )
    if found.digest != row.subject.dataset_digest:
        raise CascadeportError(
            f"The data set is not the one that the rows ran on ({found.digest[:12]}, not "
            f"{row.subject.dataset_digest[:12]}).",
            where=str(root),
            next="Give the folder of the one that they ran on with --data, or run them again.",
        )
    return found


def _pictures_folder(row: Row, root: Path) -> str:
    """The folder of pictures below the data folder, as the job names it where it ran here."""
    stated = Path(str(row.job.get("pictures", {}).get("root", "")))
    if stated.is_absolute() and root.resolve() in stated.parents:
        return stated.relative_to(root.resolve()).as_posix()
    return datasets.PICTURES
