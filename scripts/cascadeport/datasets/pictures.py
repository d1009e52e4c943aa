"""Checks the pictures of a data set on disk. They are not opened: the bundle does that."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from cascadeport.datasets.findings import Findings
from cascadeport.datasets.records import Item


def check(
    folder: Path, items: Iterable[Item], findings: Findings, *, keep_going: bool
) -> dict[str, int]:
    """Finds the picture of every item.

    Args:
        folder: The pictures' folder.
        items: What the annotation file names.
        findings: Receives the errors; with `keep_going`, missing pictures are warnings.
        keep_going: Leave missing pictures to the run, which lists them as skipped.

    Returns:
        The size in bytes of every file that is there.
    """
    sizes: dict[str, int] = {}
    missing: list[Item] = []
    base = os.fspath(folder)
    for item in items:
        # os.path is three times as fast here as pathlib, and there may be 100,000 of them.
        path = os.path.join(base, item.file)  # noqa: PTH118
        try:
            facts = os.lstat(path)
            if stat.S_ISLNK(facts.st_mode):
                facts = os.stat(path)  # noqa: PTH116
                _check_link(folder, item, findings)
        except (OSError, ValueError):
            missing.append(item)
            continue
        if not stat.S_ISREG(facts.st_mode):
            _report(findings, item, "is not a file", keep_going)
        elif facts.st_size == 0:
            _report(findings, item, "is empty (0 bytes)", keep_going)
        else:
            sizes[item.file] = facts.st_size
    if missing:
        names = _Names(folder)
        for item in missing:
            _report(findings, item, f"is missing{names.hint(item.file)}", keep_going)
    return sizes


def _report(findings: Findings, item: Item, what: str, keep_going: bool) -> None:
    if keep_going:
        findings.warn("{n} pictures are missing or empty", f"{item.file} {what}")
    else:
        findings.error(f"picture {item.id}", f"{item.file!r} {what}")


def _check_link(folder: Path, item: Item, findings: Findings) -> None:
    if not (folder / item.file).resolve().is_relative_to(folder.resolve()):
        findings.warn(
            "{n} pictures are links that lead out of their folder; a container cannot follow them",
            item.file,
        )


class _Names:
    """What the folder holds, for a hint at a file whose name is nearly right."""

    def __init__(self, folder: Path) -> None:
        found = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
        self._by_folded = {_folded(name): name for name in found}
        self._by_stem = {Path(_folded(name)).with_suffix(""): name for name in found}

    def hint(self, name: str) -> str:
        folded = _folded(name)
        found = self._by_folded.get(folded)
        if found is None:
            other = self._by_stem.get(Path(folded).with_suffix(""))
            return f"; there is {other!r}" if other else ""
        if unicodedata.normalize("NFC", found) == unicodedata.normalize("NFC", name):
            form = "NFD" if unicodedata.is_normalized("NFD", found) else "NFC"
            return f"; its name on disk is in another Unicode form ({form}, as macOS writes it)"
        return f"; there is {found!r}"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/")).casefold()
