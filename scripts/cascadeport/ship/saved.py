"""Reads what `docker save` writes: the layouts of Docker 20 to 29, of containerd and of podman."""

from __future__ import annotations

import gzip
import json
import posixpath
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from cascadeport.base.errors import CascadeportError
from cascadeport.ship import layers
from cascadeport.ship.layers import Layer

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_INDEX = "manifest.json"


@dataclass(frozen=True)
class SavedImage:
    """An image as an engine saved it, with its layers in canonical form.

    Args:
        config: Its configuration.
        layers: From the lowest.
    """

    config: dict[str, Any]
    layers: tuple[Layer, ...]


def read(path: Path, work: Path) -> SavedImage:
    """Reads an archive of one image.

    Args:
        path: The archive.
        work: A folder for the canonical layers.

    Raises:
        CascadeportError: It is no such archive, or is damaged.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            (entry,) = json.load(_file(archive, _INDEX))
            config = json.load(_file(archive, entry["Config"]))
            found = tuple(
                _layer(archive, name, work / f"layer-{number:03}.tar")
                for number, name in enumerate(entry["Layers"])
            )
    except (tarfile.TarError, ValueError, KeyError, TypeError, EOFError) as error:
        raise CascadeportError(
            "What the engine saved of the image cannot be read.",
            where=f"{path}: {error}",
            next="Run again; if it stays so, save it by hand (docker save) and look at it.",
        ) from error
    return SavedImage(config, found)


def _layer(archive: tarfile.TarFile, name: str, out: Path) -> Layer:
    source = _file(archive, name)
    magic = source.read(4)
    source.seek(0)
    if magic[:2] != _GZIP and magic != _ZSTD:
        return layers.canonical(source, out)
    # containerd keeps layers as they were pulled. Sorting needs to jump about in them.
    plain = out.with_suffix(".plain")
    with plain.open("wb") as file:
        if magic == _ZSTD:
            zstandard.ZstdDecompressor().copy_stream(source, file)
        else:
            with gzip.open(source) as unpacked:
                shutil.copyfileobj(unpacked, file, 1 << 20)
    try:
        with plain.open("rb") as file:
            return layers.canonical(file, out)
    finally:
        plain.unlink()


def _file(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    for _ in range(8):
        member = archive.getmember(name)
        if not (member.issym() or member.islnk()):
            found = archive.extractfile(member)
            if found is None:
                raise ValueError(f"{name} is no file")
            return found
        # A layer that the image has twice is a link to the first.
        folder = posixpath.dirname(name) if member.issym() else ""
        name = posixpath.normpath(posixpath.join(folder, member.linkname))
    raise ValueError(f"{name} is a link without an end")
