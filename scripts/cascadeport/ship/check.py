"""Verifies a shipment as it lies there: signature, files, and what is inside the archive.

`operator/verify.j2` does the first two with nothing but ssh-keygen and sha256sum. This also opens
the archive, and looks whether manifest, archive and inventory are about the same image.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.ship import manifest, parts, signature
from cascadeport.ship.manifest import Manifest

_OUTSIDE = (signature.SUMS, f"{signature.SUMS}.sig", signature.SIGNERS)
_AGAIN = "Do not use it. Get it again from whoever made it."
_BLOCK = 1 << 20


def is_shipment(path: Path) -> bool:
    """Whether a folder is a shipment, whole or not."""
    return (path / manifest.NAME).is_file() or (path / signature.SUMS).is_file()


def read(folder: Path) -> Manifest:
    """The manifest of a shipment."""
    return manifest.load(folder)


def former(folder: Path) -> Manifest:
    """The manifest of a shipment that an update builds on; the shipment is verified first.

    Raises:
        CascadeportError: It is none, or is damaged.
    """
    if not is_shipment(folder):
        raise CascadeportError(
            "There is no shipment.", where=str(folder), next="Give its folder: --since dist/NAME"
        )
    files(folder)
    return read(folder)


def verify(folder: Path) -> tuple[Manifest, str | None]:
    """Verifies a shipment; returns its manifest and the fingerprint of the key that signed it.

    Returns:
        The fingerprint is None where nobody signed it.

    Raises:
        CascadeportError: It is not what was packed; with every finding.
    """
    signer = files(folder)
    found = read(folder)
    problems = [*_listed(folder, found), *_labelled(found)]
    if not problems:
        problems = _archive(folder, found)
    if problems:
        raise CascadeportError(
            "The shipment contradicts itself.", where=str(folder), details=problems, next=_AGAIN
        )
    return found, signer


def files(folder: Path) -> str | None:
    """Verifies signature and files; returns the fingerprint of the key, None: nobody signed.

    Raises:
        CascadeportError: The signature is not valid, or files differ from those that were signed.
    """
    signer = None
    if (folder / f"{signature.SUMS}.sig").exists() or (folder / signature.SIGNERS).exists():
        try:
            signer = signature.verify(folder)
        except OSError as error:
            raise _missing(folder, error) from error
    listed = sums(folder)
    there = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    } - set(_OUTSIDE)
    problems = [f"{name} is missing" for name in sorted(set(listed) - there)]
    problems += [f"{name} is not listed" for name in sorted(there - set(listed))]
    for name in sorted(set(listed) & there):
        path = folder / name
        try:
            if path.is_symlink() or digest.of_file(path) != listed[name]:
                problems.append(f"{name} was changed")
        except OSError as error:
            problems.append(f"{name} cannot be read: {error.strerror}")
    if problems:
        raise CascadeportError(
            "The shipment is not what was packed.",
            where=str(folder),
            details=problems,
            next=_AGAIN,
        )
    return signer


def sums(folder: Path) -> dict[str, str]:
    """SHA256SUMS: the digests by file."""
    found = {}
    try:
        for line in (folder / signature.SUMS).read_text(encoding="utf-8").splitlines():
            value, name = line.split("  ", 1)
            if len(value) != 64 or name.startswith(("/", ".")) or ".." in name.split("/"):
                raise ValueError(line)
            found[name] = value
    except OSError as error:
        raise _missing(folder, error) from error
    except ValueError as error:
        raise CascadeportError(
            "The shipment's list of files cannot be read.",
            where=f"{folder / signature.SUMS}: {str(error)[:100]}",
            next=_AGAIN,
        ) from error
    return found


def _missing(folder: Path, error: OSError) -> CascadeportError:
    return CascadeportError(
        "A file of the shipment cannot be read.",
        where=f"{error.filename or folder}: {error.strerror}",
        next=_AGAIN,
    )


def _listed(folder: Path, found: Manifest) -> list[str]:
    """Whether the manifest lists what SHA256SUMS does."""
    listed = sums(folder)
    listed.pop(manifest.NAME, None)
    problems = []
    if {one.path: one.sha256 for one in found.files} != listed:
        problems.append(f"{manifest.NAME} and {signature.SUMS} list other files")
    problems += [
        f"{one.path} has another size than {manifest.NAME} says"
        for one in found.files
        if (folder / one.path).is_file() and (folder / one.path).stat().st_size != one.size
    ]
    return problems


def _labelled(found: Manifest) -> list[str]:
    """Whether the version says what the labels do."""
    return [
        f"the version {found.version} does not say that it is {label['name']}"
        for label in found.labels
        if f"-{label['name']}" not in found.version
    ]


def _archive(folder: Path, found: Manifest) -> list[str]:
    """Whether the archive is the image that the manifest names."""
    try:
        with opened(folder, found) as (archive, whole):
            problems = list(_contents(archive, found))
            while whole.read(_BLOCK):
                pass
            if (whole.digest, whole.size) != (found.archive.sha256, found.archive.size):
                problems.append("the archive's content is not what the manifest says")
    except (tarfile.TarError, zstandard.ZstdError, OSError, EOFError, ValueError) as error:
        return [f"the archive cannot be read: {error}"]
    return problems


@contextlib.contextmanager
def opened(folder: Path, found: Manifest) -> Iterator[tuple[tarfile.TarFile, Counted]]:
    """The archive of a shipment, read once from its beginning to its end."""
    paths = [folder / part for part in found.archive.parts]
    with parts.joined(paths, found.archive.compression) as plain:
        whole = Counted(plain)
        with tarfile.open(fileobj=whole, mode="r|") as archive:  # type: ignore[call-overload]
            yield archive, whole


class Counted:
    """A stream that is read once, and its digest and size."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._sha = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """Reads on."""
        block = self._source.read(size)
        self._sha.update(block)
        self.size += len(block)
        return block

    @property
    def digest(self) -> str:
        """The sha256 of what was read, in hexadecimal."""
        return self._sha.hexdigest()


def _contents(archive: tarfile.TarFile, found: Manifest) -> Iterator[str]:
    blobs: set[str] = set()
    config: Any = None
    for member in archive:
        file = archive.extractfile(member) if member.isfile() else None
        if file is None or not member.name.startswith("blobs/"):
            continue
        sha = hashlib.sha256()
        kept = b""
        while block := file.read(_BLOCK):
            sha.update(block)
            kept = block if len(block) == member.size else kept
        name = f"sha256:{sha.hexdigest()}"
        if member.name != f"blobs/{name.replace(':', '/')}":
            yield f"{member.name} has other content than its name says"
        blobs.add(name)
        if name == found.image.id:
            config = json.loads(kept)
    wanted = [layer.digest for layer in found.image.layers]
    if config is None:
        yield "the archive does not have the image's configuration"
    elif config["rootfs"]["diff_ids"] != wanted:
        yield "the image has other layers than the manifest says"
    lacking = {layer.digest for layer in found.image.layers if layer.shipped} - blobs
    for name in sorted(lacking):
        yield f"the archive lacks layer {name}"
