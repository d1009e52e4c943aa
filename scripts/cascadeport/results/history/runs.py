"""Runs that are kept: the files of every row by their content, and which rows a table had.

    history/rows/<digest>/<row>/    the files of a row's stages and its result.json
    history/runs/<id>.json          which rows there were, and what the comparison said

Files are hard links to those of the row where the file system has them: a run costs no space until
the row is made again. A row that did not change is kept once, whatever the number of runs. Nothing
is believed: a kept row is computed again like any other, after its digest was compared.
"""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors, write_json
from cascadeport.config.schema import Sha256
from cascadeport.results import comparison
from cascadeport.results import result as results
from cascadeport.results.collate import Known
from cascadeport.results.comparison import Comparison, Found
from cascadeport.results.schema import Record, read

FOLDER = "history"
SHOWN = 12
"""How many digits of a run's id are shown; any unique beginning of four or more names it."""
PREVIOUS = "previous"
_SHORTEST = 4
_STAGES = ("infer", "evaluate")


def _is_a_name(value: str) -> str:
    # It becomes part of a path.
    if value in ("", ".", "..") or "/" in value or "\0" in value:
        raise ValueError("it is no name of a row")
    return value


_Name = Annotated[str, AfterValidator(_is_a_name)]
_Time = Annotated[str, Field(pattern=r"^[0-9T:+-]{19,32}$")]


class Run(Record):
    """A kept run: history/runs/<id>.json.

    `id` is the digest of `rows`, the digests of the rows' files by row: the same results are the
    same run. `first` and `last` are when they were first and last seen, in UTC.
    """

    format: Literal[1] = 1
    id: str
    first: _Time
    last: _Time
    rows: dict[_Name, Sha256]
    comparison: Comparison


def keep(folder: Path, table: Comparison, most: int) -> Run:
    """Keeps the rows of a comparison as a run, and removes the oldest runs.

    The caller holds the folder's lock.

    Args:
        folder: results/<model>-<data>.
        table: Its comparison.
        most: How many runs are kept; 0 removes all.

    Raises:
        CascadeportError: The disk is full or read-only.
    """
    with disk_errors(folder / FOLDER):
        rows = current(folder, table)
        found = _now(folder, rows, table)
        if most > 0:
            for name, content in rows.items():
                _link(folder, name, content)
            write_json(_path(folder, found.id), found.model_dump(mode="json"))
        _prune(folder, most)
    return found


def current(folder: Path, table: Comparison) -> dict[str, str]:
    """The digests of the rows' files, by row; a row without files, which failed, has none."""
    names = [row.target for row in table.rows if row.status != "published"]
    digests = {name: _digest(folder / name) for name in names}
    return {name: found for name, found in digests.items() if found is not None}


def identity(rows: Mapping[str, str]) -> str:
    """The id of the run that has these rows."""
    return digest.of_value(dict(rows))


def every(folder: Path) -> list[Run]:
    """The kept runs, the newest first. One whose record cannot be read is not among them."""
    found = []
    for path in (folder / FOLDER / "runs").glob("*.json"):
        try:
            one = read(path, Run, "record of a kept run")
        except CascadeportError:
            continue
        if identity(one.rows) == one.id == path.stem:
            found.append(one)
    return sorted(found, key=lambda run: (run.last, run.id), reverse=True)


def find(folder: Path, name: str, now: str) -> Run:
    """The run of a name.

    Args:
        folder: results/<model>-<data>.
        name: `previous`, or the first digits of a run's id.
        now: The id of what there is now, which `previous` is not.

    Raises:
        CascadeportError: There is no such run, or several.
    """
    runs = every(folder)
    if name == PREVIOUS:
        matching = [run for run in runs if run.id != now][:1]
    else:
        matching = [run for run in runs if len(name) >= _SHORTEST and run.id.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    listed = ", ".join(run.id[:SHOWN] for run in runs) or "none"
    what = "There are several kept runs" if matching else "There is no kept run"
    raise CascadeportError(
        f"{what} '{name}'.",
        where=str(folder / FOLDER),
        details=[f"kept runs, the newest first: {listed}"],
        next="`cascadeport history` lists them; `previous` is the newest one with other results, "
        "and the path of another folder with results does as well.",
    )


def collect(folder: Path, run: Run, known: Known, order: Sequence[str]) -> list[Found]:
    """Computes the rows of a kept run again, in the order of a table.

    Args:
        folder: results/<model>-<data>.
        run: The run.
        known: What rows are checked against.
        order: The targets' names in the order of the rows.
    """
    found = []
    for name in comparison.in_order(run.rows, order):
        home = folder / FOLDER / "rows" / run.rows[name] / name
        if _digest(home) != run.rows[name]:
            found.append(Found(name, None, "its files in the history are missing or were changed"))
        else:
            found.append(comparison.found_in(home, known))
    return found


def _now(folder: Path, rows: dict[str, str], table: Comparison) -> Run:
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    name = identity(rows)
    first = next((run.first for run in every(folder) if run.id == name), now)
    return Run(id=name, first=first, last=now, rows=rows, comparison=table)


def _path(folder: Path, name: str) -> Path:
    return folder / FOLDER / "runs" / f"{name}.json"


def _files(home: Path) -> list[Path]:
    """The files that a row is computed from, and its result."""
    found = [home / results.NAME, *(path for name in _STAGES for path in (home / name).rglob("*"))]
    return sorted(path for path in found if path.is_file())


def _digest(home: Path) -> str | None:
    try:
        content = {
            path.relative_to(home).as_posix(): digest.of_unchanged_file(path)
            for path in _files(home)
        }
    except FileNotFoundError:
        # Another run is replacing a stage at this moment.
        return None
    return digest.of_value(content) if results.NAME in content else None


def _link(folder: Path, name: str, content: str) -> None:
    place = folder / FOLDER / "rows" / content
    if (place / name).exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    # A temporary folder of this name is removed by the next run if this one dies.
    temporary = Path(tempfile.mkdtemp(prefix=f".{FOLDER}.tmp-", dir=folder))
    try:
        for path in _files(folder / name):
            copy = temporary / name / path.relative_to(folder / name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, copy)
            except OSError:
                # Another file system, or one without hard links.
                shutil.copy2(path, copy)
        temporary.chmod((folder / name).stat().st_mode)
        if place.exists():
            shutil.rmtree(place)
        temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _prune(folder: Path, most: int) -> None:
    runs = every(folder)
    for run in runs[most:]:
        _path(folder, run.id).unlink(missing_ok=True)
    wanted = {content for run in runs[:most] for content in run.rows.values()}
    # What a run left that died while it wrote.
    for leftover in (folder / FOLDER / "runs").glob(".*.tmp-*"):
        leftover.unlink(missing_ok=True)
    for place in (folder / FOLDER / "rows").glob("*"):
        if place.name not in wanted:
            shutil.rmtree(place, ignore_errors=True)
