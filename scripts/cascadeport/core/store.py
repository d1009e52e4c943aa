"""Stage folders: written atomically, skipped when up to date, locked while used.

A stage's product is a folder. It is written as `.NAME.tmp-…` beside its final path and renamed when
it is complete, so a crash, Ctrl-C or a full disk costs the running stage and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from pydantic import BaseModel, ConfigDict, ValidationError

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors, write_json
from cascadeport.base.reading import read_record

FORMAT = 1
RECORD = "stage.json"
NOT_DONE = "not done yet"
# Products above this size are trusted by their files' sizes: hashing a data set or a big graph
# before every run costs more than it finds. The bundle checks the digest of the graph it loads.
_HASHED_BELOW = 64 << 20


class BusyError(CascadeportError):
    """Another run holds the folder."""


@dataclass(frozen=True)
class Freshness:
    """Whether a stage folder can be used as it is, and why or why not."""

    is_up_to_date: bool
    reason: str


class _FileFacts(BaseModel):
    """What a record says of one file; its digest is None where the product was too large."""

    model_config = ConfigDict(strict=True)

    bytes: int
    sha256: str | None


class _Record(BaseModel):
    """The part of a record that `freshness` reads."""

    model_config = ConfigDict(strict=True)

    format: int
    key: str
    files: dict[str, _FileFacts]


def freshness(folder: Path, key: str, record_name: str = RECORD) -> Freshness:
    """Compares a folder's record with the key that was computed for what it should hold."""
    if not folder.exists():
        return Freshness(False, NOT_DONE)
    try:
        record = _Record.model_validate(read_record(folder / record_name, "record"))
    except (CascadeportError, ValidationError):
        return Freshness(False, "its record cannot be read")
    if record.format != FORMAT:
        return Freshness(
            False, f"written by another version (format {record.format}, now {FORMAT})"
        )
    if record.key != key:
        return Freshness(False, "its inputs changed")
    for found in _damage(folder, record):
        return Freshness(False, found)
    return Freshness(True, "nothing changed")


def damage(folder: Path) -> list[str]:
    """Compares the files of a finished stage with its record.

    Returns:
        What is different, a clause each; empty if nothing is.
    """
    try:
        record = _Record.model_validate(read_record(folder / RECORD, "record"))
    except (CascadeportError, ValidationError):
        return [f"{RECORD} cannot be read"]
    return list(_damage(folder, record))


def _damage(folder: Path, record: _Record) -> Iterator[str]:
    for name, facts in record.files.items():
        path = folder / name
        try:
            if not path.is_file():
                yield f"{name} is missing"
            elif path.stat().st_size != facts.bytes:
                yield f"{name} has another size"
            elif facts.sha256 and digest.of_file(path) != facts.sha256:
                yield f"{name} has other content"
        except (OSError, ValueError):
            yield f"{name} cannot be read"


@contextlib.contextmanager
def writing(
    folder: Path,
    key: str,
    facts: Mapping[str, Any],
    *,
    keep_failed: bool = False,
    hashed: bool = False,
) -> Iterator[Path]:
    """Yields a temporary folder that replaces `folder` when the block succeeds.

    Args:
        folder: The product's final path.
        key: The stage's key.
        facts: What else the record says: the stage's name, parameters and inputs.
        keep_failed: Leave what was written as `NAME.failed` when the block fails.
        hashed: Record the digest of every file, however large the product is.

    Raises:
        CascadeportError: The disk is full or read-only.
    """
    with disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.tmp-", dir=folder.parent))
    try:
        with disk_errors(folder):
            # mkdtemp makes private folders; a product is as readable as any other file.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o777 & ~umask)
            yield temporary
            files = sorted(path for path in temporary.rglob("*") if path.is_file())
            write_record(temporary, key, files, facts, hashed=hashed)
            _replace(temporary, folder)
    except BaseException:
        if keep_failed:
            _replace(temporary, folder.with_name(f"{folder.name}.failed"))
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_record(
    folder: Path,
    key: str,
    files: Sequence[Path],
    facts: Mapping[str, Any],
    record_name: str = RECORD,
    *,
    hashed: bool = False,
) -> None:
    """Writes the record that `freshness` reads: the key and what the files of the product are."""
    record = {"format": FORMAT, "key": key, **facts, "files": _listing(folder, files, hashed)}
    write_json(folder / record_name, record)


def _listing(folder: Path, files: Sequence[Path], hashed: bool) -> dict[str, Any]:
    hashed = hashed or sum(path.stat().st_size for path in files) < _HASHED_BELOW
    listing = {}
    for path in files:
        size = path.stat().st_size
        sha256 = digest.of_file(path) if hashed else None
        listing[path.relative_to(folder).as_posix()] = {"bytes": size, "sha256": sha256}
    return listing


def _replace(temporary: Path, folder: Path) -> None:
    old = None
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old-", dir=folder.parent))
        folder.rename(old / folder.name)
    try:
        temporary.rename(folder)
    except BaseException:
        if old is not None and not folder.exists():
            (old / folder.name).rename(folder)
        raise
    finally:
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Holds a folder for one run; leftovers of runs that died are removed.

    Args:
        folder: It is created if it does not exist.
        wait: Wait for the run that holds it instead of failing.

    Raises:
        BusyError: Another run holds it.
        CascadeportError: The folder cannot be written.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        holder = folder / ".lock.json"
        lock = filelock.FileLock(folder / ".lock", timeout=-1 if wait else 0)
    try:
        with disk_errors(folder):
            lock.acquire()
    except filelock.Timeout:
        who = ""
        with contextlib.suppress(CascadeportError, KeyError, TypeError, ValueError):
            who = f" (process {int(read_record(holder, 'lock')['pid'])})"
        raise BusyError(
            f"Another run{who} is working in this folder.",
            where=str(folder),
            next="Wait until it ends, or stop it; then run the same command again.",
        ) from None
    try:
        with disk_errors(folder):
            for leftover in [*folder.glob(".*.tmp-*"), *folder.glob(".*.old-*")]:
                _remove(leftover)
            if holder.is_dir():
                _remove(holder)
            holder.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink(missing_ok=True)
        lock.release()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
