"""Zip and tar behind one interface: list the entries, then read files by name."""

from __future__ import annotations

import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Protocol

from cascadeport.base.errors import CascadeportError
from cascadeport.download.members import Member

_KNOWN = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
# What reading a damaged archive has been seen to raise; only reading happens in this block.
_DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,  # gzip and bz2 report damage so; zip, a seek to before the file
    ValueError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)


class Reader(Protocol):
    """An open archive."""

    def members(self) -> Iterator[Member]:
        """Its entries, one after the other."""

    def open(self, name: str) -> IO[bytes]:
        """One of its files, by the name that `members` gave."""


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def members(self) -> Iterator[Member]:
        for info in self._archive.infolist():
            # `filename` ends at a zero byte; `orig_filename` is what the archive says.
            name = info.orig_filename
            yield Member(name, info.file_size, name.endswith("/"), self._problem(info))

    @staticmethod
    def _problem(info: zipfile.ZipInfo) -> str:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            return "is a link" if kind == stat.S_IFLNK else "is not a file"
        if info.flag_bits & 1:
            return "is encrypted"
        if info.compress_type not in _KNOWN:
            return f"is packed by a method that cannot be read ({info.compress_type})"
        return ""

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(name)


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        # tarfile itself does not find a file whose name ends in a slash.
        self._infos: dict[str, tarfile.TarInfo] = {}

    def members(self) -> Iterator[Member]:
        for info in self._archive:
            self._infos[info.name] = info
            problem = ""
            if info.issym() or info.islnk():
                problem = "is a link"
            elif not (info.isreg() or info.isdir()):
                problem = "is not a file"
            yield Member(info.name, info.size, info.isdir(), problem)

    def open(self, name: str) -> IO[bytes]:
        file = self._archive.extractfile(self._infos[name])
        assert file is not None  # members() let only files through
        return file


@contextmanager
def opened(path: Path) -> Iterator[Reader]:
    """Opens a zip or tar file by its content.

    Raises:
        CascadeportError: It is neither, or it is damaged.
    """
    archive: zipfile.ZipFile | tarfile.TarFile
    reader: Reader
    with damage_explained(path):
        if zipfile.is_zipfile(path):
            archive = zipfile.ZipFile(path)
            reader = _Zip(archive)
        else:
            archive = tarfile.open(path)  # noqa: SIM115
            reader = _Tar(archive)
    with archive:
        yield reader


@contextmanager
def damage_explained(path: Path) -> Iterator[None]:
    """Turns what the readers of damaged archives raise into a sentence.

    Raises:
        CascadeportError: The archive is damaged.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise CascadeportError(
            "The archive does not exist.", where=str(path), next="Check the path."
        ) from error
    except _DAMAGE as error:
        reason = str(getattr(error, "strerror", None) or error).strip().split("\n")[0]
        reason = reason or type(error).__name__
        raise CascadeportError(
            f"The archive is damaged, or neither zip nor tar: {reason}.",
            where=str(path),
            next="Remove it and run the same command again: it is downloaded anew.",
        ) from error
