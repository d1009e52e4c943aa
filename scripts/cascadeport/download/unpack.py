"""Unpacks archives atomically, after every entry was checked."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import disk_errors
from cascadeport.download.disk import check_space
from cascadeport.download.members import Limits, Member, choose
from cascadeport.download.progress import Meter, Progress
from cascadeport.download.readers import Reader, damage_explained, opened

_BLOCK = 1 << 20
USUAL = Limits()

__all__ = ["Limits", "Packed", "unpack"]


@dataclass(frozen=True)
class Packed:
    """An archive, and what of it is wanted.

    Args:
        path: A zip or tar file, whatever its name.
        members: Patterns of the files to unpack; everything when empty.
    """

    path: Path
    members: tuple[str, ...] = ()


def unpack(
    archives: Sequence[Packed],
    destination: Path,
    *,
    progress: Progress | None = None,
    limits: Limits = USUAL,
) -> None:
    """Unpacks archives into one folder, which appears when all of them are unpacked.

    Only plain files and folders are made; owners, modes and times are left behind. Before the
    first byte is written every entry is checked: paths that lead out of the folder, links,
    devices, names that come twice, encryption, the number and size of the files against `limits`
    and against the free disk.

    Args:
        archives: What to unpack.
        destination: A folder that is empty or does not exist yet.
        progress: Receives the progress, in unpacked bytes.
        limits: What each archive may unpack to.

    Raises:
        CascadeportError: An archive is damaged or refused (with every reason), there is not enough
            space, or the destination is not empty. Nothing is left behind.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise CascadeportError(
            "The folder to unpack into is not empty.",
            where=str(destination),
            next="Give a new folder, or remove this one first.",
        )
    with ExitStack() as stack:
        stack.enter_context(disk_errors(destination))
        readers = [stack.enter_context(opened(archive.path)) for archive in archives]
        plans = [
            _plan(archive, reader, limits)
            for archive, reader in zip(archives, readers, strict=True)
        ]
        _check_overlap(archives, plans)
        total = sum(member.size for plan in plans for member in plan)
        destination.parent.mkdir(parents=True, exist_ok=True)
        check_space(destination.parent, total, "the unpacked files")
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{destination.name}.tmp-", dir=destination.parent)
        )
        try:
            meter, done = Meter(progress, "unpack", total), 0
            for archive, reader, plan in zip(archives, readers, plans, strict=True):
                for member in plan:
                    done = _write(archive.path, reader, member, temporary, meter, done)
            # mkdtemp makes private folders; these are as readable as any other.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o777 & ~umask)
            temporary.rename(destination)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _plan(archive: Packed, reader: Reader, limits: Limits) -> list[Member]:
    with damage_explained(archive.path):
        return choose(
            reader.members(),
            archive.members,
            where=str(archive.path),
            packed=archive.path.stat().st_size,
            limits=limits,
        )


def _check_overlap(archives: Sequence[Packed], plans: Sequence[Sequence[Member]]) -> None:
    owners: dict[str, Path] = {}
    for archive, plan in zip(archives, plans, strict=True):
        for member in plan:
            name = member.path.as_posix()
            if name in owners:
                raise CascadeportError(
                    f"Two archives hold '{name}'.",
                    where=f"{owners[name]}, {archive.path}",
                    next="Say which files are wanted of each (`members`).",
                )
            owners[name] = archive.path


def _write(
    archive: Path, reader: Reader, member: Member, root: Path, meter: Meter, done: int
) -> int:
    path = root / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    left = member.size
    with path.open("xb") as file:
        for block in _blocks(archive, reader, member):
            left -= len(block)
            if left < 0:
                break
            file.write(block)
            meter.update(done + member.size - left)
    if left:
        raise CascadeportError(
            f"The archive is damaged: '{member.name}' has another size than it announces.",
            where=str(archive),
            next="Remove it and run the same command again: it is downloaded anew.",
        )
    return done + member.size


def _blocks(archive: Path, reader: Reader, member: Member) -> Iterator[bytes]:
    # Only reading is watched for damage: an error while writing is the disk's.
    with damage_explained(archive), reader.open(member.name) as packed:
        while block := packed.read(_BLOCK):
            yield block
