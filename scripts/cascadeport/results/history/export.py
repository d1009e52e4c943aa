"""Exports of a comparison, by the ending of the file's name."""

from __future__ import annotations

from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_text
from cascadeport.results.comparison import Comparison
from cascadeport.results.history import junit, pull_request
from cascadeport.results.history.against import Against

_FORMS = {".xml": junit.document, ".md": pull_request.document}


def check(path: Path) -> None:
    """Says before anything is compared that a file's ending is not known.

    Raises:
        CascadeportError: It is not.
    """
    if path.suffix not in _FORMS:
        raise CascadeportError(
            f"The export's name ends in '{path.suffix}', which is no form of export.",
            where=f"--export {path}",
            next=".xml writes JUnit XML, .md writes Markdown for a pull request.",
        )


def write(table: Comparison, against: Against | None, path: Path) -> None:
    """Writes an export.

    Raises:
        CascadeportError: Its ending is not known, or the disk refuses it.
    """
    check(path)
    write_text(path, _FORMS[path.suffix](table, against))
