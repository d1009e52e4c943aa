"""The files of an image: its layers, one on top of the other, as a container sees them."""

from __future__ import annotations

import contextlib
import posixpath
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType

from cascadeport.ship.layers import WHITEOUT, Layer

_OPAQUE = f"{WHITEOUT}{WHITEOUT}.opq"
_SHELLS = ("sh", "bash", "rbash", "dash", "ash", "zsh", "ksh", "busybox", "toybox")
_LINKS = 40


@dataclass(frozen=True)
class _Found:
    layer: int
    member: tarfile.TarInfo


class Rootfs:
    """The files of an image, by their paths without a leading slash.

    Args:
        layers: From the lowest, in canonical form.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._stack = contextlib.ExitStack()
        self._archives = [
            self._stack.enter_context(tarfile.TarFile(layer.path)) for layer in layers
        ]
        self._files: dict[str, _Found] = {}
        for number, archive in enumerate(self._archives):
            self._apply(number, archive)

    def __enter__(self) -> Rootfs:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _apply(self, number: int, archive: tarfile.TarFile) -> None:
        members = archive.getmembers()
        for member in members:
            folder, name = posixpath.split(member.name)
            if name == _OPAQUE:
                self._remove(folder, itself=False)
            elif name.startswith(WHITEOUT):
                self._remove(posixpath.join(folder, name.removeprefix(WHITEOUT)), itself=True)
        for member in members:
            if not posixpath.basename(member.name).startswith(WHITEOUT):
                there = self._files.get(member.name)
                if there is not None and there.member.isdir() and not member.isdir():
                    self._remove(member.name, itself=True)
                self._files[member.name] = _Found(number, member)

    def _remove(self, path: str, *, itself: bool) -> None:
        # Looking through all names takes long in an image of many files: only folders have others.
        there = self._files.pop(path, None) if itself else None
        if there is not None and not there.member.isdir():
            return
        below = f"{path}/" if path else ""
        for name in [name for name in self._files if name.startswith(below)]:
            del self._files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._files))

    def resolve(self, path: str) -> str | None:
        """Follows symbolic links; None: there is no such file."""
        left = [part for part in path.split("/") if part]
        done: list[str] = []
        for _ in range(_LINKS * 8):
            if not left:
                found = "/".join(done)
                return found if found in self._files or not found else None
            part = left.pop(0)
            if part in (".", ""):
                continue
            if part == "..":
                done = done[:-1]
                continue
            at = self._files.get("/".join([*done, part]))
            if at is not None and at.member.issym():
                if at.member.linkname.startswith("/"):
                    done = []
                left = [*at.member.linkname.split("/"), *left]
                continue
            done.append(part)
        return None

    def read(self, path: str) -> bytes | None:
        """The content of a file, links followed; None: there is none."""
        resolved = self.resolve(path)
        found = self._files.get(resolved) if resolved else None
        if found is None or not (found.member.isreg() or found.member.islnk()):
            return None
        file = self._archives[found.layer].extractfile(found.member)
        return file.read() if file is not None else None

    def shells(self) -> list[str]:
        """The paths of shells, and of every link that leads to one."""
        programs = {
            name
            for name, found in self._files.items()
            if posixpath.basename(name) in _SHELLS
            and found.member.mode & 0o111
            and posixpath.basename(posixpath.dirname(name)) in ("bin", "sbin")
        }
        targets = {self.resolve(name) for name in programs} | programs
        links = {
            name
            for name, found in self._files.items()
            if found.member.issym() and self.resolve(name) in targets
        }
        return sorted((programs | links | {one for one in targets if one}) & set(self._files))
