"""The mark of a row whose last run failed: failed.json, until a run of it succeeds.

What an earlier run of it left is still there, but it is not what was asked for last: a table that
showed it without a word would hide the failure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors, write_json
from cascadeport.results.schema import Record, read

NAME = "failed.json"


class Failure(Record):
    """failed.json: the error that ended the run, as the user saw it."""

    format: Literal[1] = 1
    what: str
    where: str = ""
    next: str = ""


def mark(folder: Path, error: CascadeportError) -> None:
    """Marks a row as failed.

    Args:
        folder: results/<model>-<data>/<row>.
        error: What ended the run.
    """
    failure = Failure(what=error.what, where=error.where, next=error.next)
    write_json(folder / NAME, failure.model_dump(mode="json"))


def clear(folder: Path) -> None:
    """Removes the mark: the row's run succeeded."""
    with disk_errors(folder):
        (folder / NAME).unlink(missing_ok=True)


def of(folder: Path) -> str:
    """Why a row's last run failed, as a clause; empty if it did not."""
    if not (folder / NAME).exists():
        return ""
    try:
        failure = read(folder / NAME, Failure, "record of a failure")
    except CascadeportError as error:
        return f"its last run failed, and {NAME} cannot be read: {error.what}"
    return f"its last run failed: {failure.what}"
