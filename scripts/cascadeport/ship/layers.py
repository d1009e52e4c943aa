"""Layers in canonical form: the same files give the same archive, byte for byte.

An image's layer is a tar archive. When and in which order a builder wrote its files are in it, so
that two builds of the same inputs are never the same. In canonical form entries are sorted by name,
every time is `EPOCH`, and only what a container sees is kept: names, types, modes, owners, links,
devices, extended attributes, and every byte of every file.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

EPOCH = 315532800
"""1980-01-01T00:00:00Z, the time of every entry: the first that zip files can say."""
WHITEOUT = ".wh."
"""An entry of this prefix removes the file of that name in the layers below."""

_XATTR = "SCHILY.xattr."


@dataclass(frozen=True)
class Layer:
    """A layer's archive, uncompressed.

    Args:
        path: Where it lies.
        digest: `sha256:…` of its bytes: its name in images (diff id).
        size: Its length in bytes.
    """

    path: Path
    digest: str
    size: int


@dataclass(frozen=True)
class Entry:
    """A file to put into a layer.

    Args:
        content: Its bytes, or the file that has them.
        mode: Its permissions.
    """

    content: bytes | Path
    mode: int = 0o644


class _Hashing(io.RawIOBase):
    """A file that is written, and its digest and size."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._sha = hashlib.sha256()
        self._size = 0
        self._path = path

    def write(self, block: Any) -> int:
        self._sha.update(block)
        self._size += len(block)
        return self._file.write(block)

    def tell(self) -> int:
        return self._size

    def done(self) -> Layer:
        self._file.close()
        return Layer(self._path, f"sha256:{self._sha.hexdigest()}", self._size)


def canonical(source: IO[bytes], out: Path) -> Layer:
    """Writes a layer in canonical form.

    Args:
        source: The layer's archive, uncompressed and seekable.
        out: Where the canonical one goes.
    """
    with tarfile.open(fileobj=source, mode="r:") as archive:
        # Of a name that is there twice, the later one counts.
        members = {_name(member.name): member for member in archive}
        members.pop("", None)
        first = _first_names(members)
        sink = _Hashing(out)
        with _writing(sink) as tar:
            for name in sorted(members):
                member = members[name]
                origin = _origin(name, members)
                if name != first.get(origin, name):
                    tar.addfile(_linked(name, first[origin], members[origin]))
                    continue
                if origin != name:
                    member = members[origin]
                entry = _plain(name, member)
                tar.addfile(entry, archive.extractfile(member) if member.isreg() else None)
        return sink.done()


def written(entries: Mapping[str, Entry], out: Path, gone: Iterable[str] = ()) -> Layer:
    """Writes a layer of our own: files that belong to root, and the folders they are in.

    Args:
        entries: Files by their path in the image, without a leading slash.
        out: Where the layer goes.
        gone: Paths of files that the layers below have and the image shall not have.
    """
    removed = {_whiteout(path) for path in gone}
    folders = {
        parent.as_posix()
        for name in [*entries, *removed]
        for parent in Path(name).parents
        if parent.name
    }
    sink = _Hashing(out)
    with _writing(sink) as tar:
        for name in sorted({*entries, *removed, *folders}):
            member = tarfile.TarInfo(name)
            member.mtime = EPOCH
            if name in entries:
                _add(tar, member, entries[name])
            elif name in removed:
                member.mode = 0o644
                tar.addfile(member)
            else:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(member)
    return sink.done()


def _add(tar: tarfile.TarFile, member: tarfile.TarInfo, entry: Entry) -> None:
    member.mode = entry.mode
    if isinstance(entry.content, bytes):
        member.size = len(entry.content)
        tar.addfile(member, io.BytesIO(entry.content))
        return
    member.size = entry.content.stat().st_size
    with entry.content.open("rb") as file:
        tar.addfile(member, file)


def _writing(sink: _Hashing) -> tarfile.TarFile:
    return tarfile.TarFile(fileobj=sink, mode="w", format=tarfile.PAX_FORMAT)


def _whiteout(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/{WHITEOUT}{name}" if folder else f"{WHITEOUT}{name}"


def _name(name: str) -> str:
    """A member's name as the image has it: `./etc/passwd` is `etc/passwd`."""
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _origin(name: str, members: Mapping[str, tarfile.TarInfo]) -> str:
    """The entry with a hard link's content; the name itself of anything else."""
    seen = {name}
    while members[name].islnk():
        target = _name(members[name].linkname)
        if target not in members or target in seen:
            break
        seen.add(target)
        name = target
    return name


def _first_names(members: Mapping[str, tarfile.TarInfo]) -> dict[str, str]:
    """By the entry with the content: the first of all names of the same file.

    That one gets the content, and the others are links to it: a link must follow what it names.
    """
    first: dict[str, str] = {}
    for name in sorted(members):
        first.setdefault(_origin(name, members), name)
    return first


def _plain(name: str, member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A member without times, names of users, and what builders add."""
    entry = tarfile.TarInfo(name)
    entry.type = tarfile.REGTYPE if member.isreg() else member.type
    entry.mode, entry.uid, entry.gid = member.mode & 0o7777, member.uid, member.gid
    entry.mtime = EPOCH
    if member.isreg():
        entry.size = member.size
    if member.issym() or member.islnk():
        entry.linkname = member.linkname
    entry.devmajor, entry.devminor = member.devmajor, member.devminor
    entry.pax_headers = {
        key: value for key, value in sorted(member.pax_headers.items()) if key.startswith(_XATTR)
    }
    return entry


def _linked(name: str, target: str, origin: tarfile.TarInfo) -> tarfile.TarInfo:
    entry = _plain(name, origin)
    entry.type, entry.linkname, entry.size = tarfile.LNKTYPE, target, 0
    return entry
