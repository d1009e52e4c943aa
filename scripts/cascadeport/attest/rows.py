"""A row computed afresh: its detections by both evaluators, whatever was kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cascadeport import backends, datasets
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.base.reading import is_dir, is_file, read_record
from cascadeport.config import targets
from cascadeport.core import store
from cascadeport.datasets import Dataset
from cascadeport.results import collate
from cascadeport.results import result as results
from cascadeport.results.collate import Known
from cascadeport.results.result import ModelFacts, Result

TARGETS = REPOSITORY / "targets.toml"


def check_folder(folder: Path) -> None:
    """Looks whether a folder is that of a row.

    Raises:
        CascadeportError: It is not.
    """
    if is_file(folder / results.NAME):
        return
    rows = sorted(
        path.parent.relative_to(folder).as_posix()
        for pattern in ("*", "*/*")
        for path in folder.glob(f"{pattern}/{results.NAME}")
    )
    remedy = "Give the folder of a finished run: results/<model>-<data>/<target>."
    if rows:
        remedy = f"Give the folder of one of its rows: {', '.join(rows)}."
    what = "is not that of a finished run" if is_dir(folder) else "does not exist"
    raise CascadeportError(f"The folder {what}.", where=str(folder), next=remedy)


def load_dataset(folder: Path, stated: Result) -> Dataset:
    """The data set of a row, from where it was when the row was computed last.

    Its content is compared with the digest in the record of the pass: only the place is believed.

    Raises:
        CascadeportError: It is not there any more, or has errors.
    """
    record = read_record(folder / "infer" / store.RECORD, "record of a stage")
    parameters = record.get("parameters")
    limit, keep_going = None, False
    if isinstance(parameters, dict):
        limit = parameters.get("limit")
        settings = parameters.get("settings")
        keep_going = isinstance(settings, dict) and bool(settings.get("keep_going"))
    where = stated.dataset
    try:
        return datasets.load(
            Path(where.root),
            pictures=where.pictures_root or datasets.PICTURES,
            annotations=where.annotations,
            limit=limit if isinstance(limit, int) else None,
            keep_going=keep_going,
            name=where.name,
        )
    except CascadeportError as error:
        raise CascadeportError(
            f"The row's data set cannot be read: {error.what}",
            where=error.where,
            details=error.details,
            next="Say where it is now: --data FOLDER.",
        ) from error


def compute(folder: Path, dataset: Dataset | None = None) -> tuple[Result, Dataset]:
    """Computes a row from its files, and what its result.json says.

    Args:
        folder: results/<model>-<data>/<row>.
        dataset: Its data set; None: it is where it was.

    Returns:
        The result, invalid with the reason where files do not fit together, and the data set.

    Raises:
        CascadeportError: There is nothing to compute, or a file cannot be read.
    """
    check_folder(folder)
    stated = results.load(folder / results.NAME)
    dataset = dataset or load_dataset(folder, stated)
    known = _known(stated, dataset)
    computed = collate.compute(folder, known, kept=False)
    otherwise = collate.stated_otherwise(stated, computed)
    update: dict[str, Any] = {"folder": folder}
    if otherwise:
        reasons = [*otherwise, *filter(None, [computed.reason])]
        update |= {"status": "invalid", "reason": "; ".join(reasons)}
    return computed.model_copy(update=update), dataset


def _known(stated: Result, dataset: Dataset) -> Known:
    model = stated.model
    rows = targets.load(TARGETS, backends.row)
    return Known(
        titles={target: row.title for target, row in rows.items()},
        model=ModelFacts(name=model.name, title=model.title, reference=model.reference),
        dataset=dataset,
        data_name=stated.dataset.name,
        runners=collate.runners_of(rows),
        judges=collate.judges_of(rows),
    )
