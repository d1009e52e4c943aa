"""Proves that a shipment is what its run gives: freezes the run again, and compares.

What differs is named down to the file in the layer. diffoscope, where it is installed, explains it.
"""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from cascadeport.ship import check
from cascadeport.ship.manifest import Manifest

_SHOWN = 20
_DIFFOSCOPE_S = 600


def differences(shipped: Path, again: Path, work: Path) -> list[str]:
    """What differs between a shipment and the same run frozen again; empty if nothing does.

    Args:
        shipped: The shipment.
        again: The other one, packed the same way.
        work: A folder for the layers that differ, and for diffoscope's report.
    """
    one, other = check.read(shipped), check.read(again)
    if one.image.id == other.image.id and one.archive.sha256 == other.archive.sha256:
        return _packed(shipped, again, one, other)
    problems = [f"the image is {other.image.id}, not {one.image.id}"]
    if len(one.image.layers) != len(other.image.layers):
        problems.append(f"it has {len(other.image.layers)} layers, not {len(one.image.layers)}")
    differing = {
        (first.digest, second.digest)
        for first, second in zip(one.image.layers, other.image.layers, strict=False)
        if first.digest != second.digest
    }
    if not differing:
        return [*problems, "its layers are the same: only its configuration differs"]
    left = _extracted(shipped, one, {first for first, _ in differing}, work / "shipped")
    right = _extracted(again, other, {second for _, second in differing}, work / "again")
    for first, second in sorted(differing):
        if first in left and second in right:
            found = list(_files(left[first], right[second]))
            problems += found[:_SHOWN]
            if len(found) > _SHOWN:
                problems.append(f"... and {len(found) - _SHOWN} more files of that layer")
            problems += _explained(left[first], right[second], work)
    return problems


def _packed(shipped: Path, again: Path, one: Manifest, other: Manifest) -> list[str]:
    """The image is the same; is it packed the same, and what lies beside it?"""
    before, after = check.sums(shipped), check.sums(again)
    names = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    if any(name in one.archive.parts for name in names):
        return [
            f"the archive's content is the same, its compression is not: {one.archive.compressor} "
            f"then, {other.archive.compressor} now"
        ]
    return []


def beside(shipped: Path, again: Path) -> list[str]:
    """The files beside the archive that differ: reports of other rows, another release's papers."""
    one, before, after = check.read(shipped), check.sums(shipped), check.sums(again)
    return sorted(
        name
        for name in {*before, *after} - set(one.archive.parts)
        if before.get(name) != after.get(name)
    )


def _extracted(folder: Path, found: Manifest, wanted: set[str], work: Path) -> dict[str, Path]:
    work.mkdir(parents=True, exist_ok=True)
    layers = {}
    with check.opened(folder, found) as (archive, _):
        for member in archive:
            name = f"sha256:{member.name.rpartition('/')[2]}"
            file = archive.extractfile(member) if name in wanted else None
            if file is not None:
                path = work / f"{name.removeprefix('sha256:')[:16]}.tar"
                with path.open("wb") as out:
                    shutil.copyfileobj(file, out)
                layers[name] = path
    return layers


def _files(one: Path, other: Path) -> Iterator[str]:
    """The files of two layers that differ, a clause each."""
    with tarfile.open(one, "r:") as left, tarfile.open(other, "r:") as right:
        before = {member.name: member for member in left}
        after = {member.name: member for member in right}
        for name in sorted({*before, *after}):
            first, second = before.get(name), after.get(name)
            if first is None:
                yield f"/{name} is new"
            elif second is None:
                yield f"/{name} is missing"
            elif _facts(first) != _facts(second):
                yield f"/{name} has another type, mode, owner, size or link"
            elif first.isreg() and _content(left, first) != _content(right, second):
                yield f"/{name} has other content"


def _facts(member: tarfile.TarInfo) -> tuple[object, ...]:
    return (member.type, member.mode, member.uid, member.gid, member.size, member.linkname)


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    return file.read() if file is not None else b""


def _explained(one: Path, other: Path, work: Path) -> list[str]:
    """diffoscope's own report, where it is installed."""
    program = shutil.which("diffoscope")
    if program is None:
        return ["(install diffoscope to see what differs inside these files)"]
    report = work / f"{one.stem}.diff.txt"
    try:
        subprocess.run(
            [program, "--text", str(report), str(one), str(other)],
            check=False,
            capture_output=True,
            timeout=_DIFFOSCOPE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"diffoscope did not finish: {error}"]
    return [f"diffoscope's report: {report}"] if report.is_file() else []
