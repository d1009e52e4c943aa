"""How a command's files get into a container and its results back.

Two ways: bind mounts, where the engine sees this machine's files; and labelled volumes filled and
read as archives, where it does not (another host, a rootless engine, user namespaces).
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import tarfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from docker.types import Mount as DockerMount

from cascadeport.base.errors import CascadeportError
from cascadeport.containers import sweep
from cascadeport.core.task import Mount

if TYPE_CHECKING:
    import docker

BLOCK = 1 << 20


class Transport(Protocol):
    """Carries the mounts of one task."""

    def send(self, mounts: Sequence[Mount]) -> list[DockerMount]:
        """Makes the files reachable; returns the mounts for the container."""

    def receive(self) -> None:
        """Copies what was written back to the paths that the mounts came from."""

    def close(self) -> None:
        """Removes what was made for the transfer."""


class BindTransport:
    """Bind mounts. A run as root gives its writable folders to the image's user meanwhile.

    Args:
        user: The uid and gid that the container runs as.
    """

    def __init__(self, user: tuple[int, int]) -> None:
        self._user = user
        self._given: list[Path] = []

    def send(self, mounts: Sequence[Mount]) -> list[DockerMount]:
        """See `Transport`."""
        for mount in mounts:
            if mount.writable and os.getuid() == 0 and self._user[0] != 0:
                _own(mount.source, *self._user)
                self._given.append(mount.source)
        return [
            DockerMount(
                target=mount.target,
                source=str(mount.source),
                type="bind",
                read_only=not mount.writable,
            )
            for mount in mounts
        ]

    def receive(self) -> None:
        """Everything is there already."""

    def close(self) -> None:
        """Takes the folders back."""
        while self._given:
            _own(self._given.pop(), os.getuid(), os.getgid())


def _own(path: Path, uid: int, gid: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.chown(path, uid, gid, follow_symlinks=False)
    if path.is_dir() and not path.is_symlink():
        for inner in path.iterdir():
            _own(inner, uid, gid)


class ArchiveTransport:
    """Volumes of the engine's host, filled and read through a container that is never started.

    Args:
        client: The engine.
        image: The image whose folders give the volumes their first owner.
        run: The run's id, for labels.
        user: The uid and gid that the container runs as.
    """

    def __init__(
        self, client: docker.DockerClient, image: str, run: str, user: tuple[int, int]
    ) -> None:
        self._client = client
        self._image = image
        self._run = run
        self._user = user
        self._volumes: list[Any] = []
        self._carrier: Any = None
        self._writable: list[Mount] = []

    def send(self, mounts: Sequence[Mount]) -> list[DockerMount]:
        """See `Transport`. A file travels in a volume of its folder."""
        labels = sweep.labels(self._run)
        folders: dict[str, Any] = {}
        for mount in mounts:
            folder = _folder(mount)
            if folder not in folders:
                volume = self._client.volumes.create(labels=labels)
                self._volumes.append(volume)
                folders[folder] = volume
        self._writable = [mount for mount in mounts if mount.writable]
        writable = {_folder(mount) for mount in self._writable}
        self._carrier = self._client.containers.create(
            self._image,
            ["true"],
            labels=labels,
            network_mode="none",
            mounts=[
                DockerMount(target=folder, source=volume.name, type="volume")
                for folder, volume in folders.items()
            ],
        )
        for mount in mounts:
            with _packed(mount, self._user) as stream:
                self._carrier.put_archive(_folder(mount), stream)
        return [
            DockerMount(
                target=folder, source=volume.name, type="volume", read_only=folder not in writable
            )
            for folder, volume in folders.items()
        ]

    def receive(self) -> None:
        """See `Transport`. A link or a path that would leave the folder is refused."""
        for mount in self._writable:
            chunks, _ = self._carrier.get_archive(mount.target, chunk_size=BLOCK)
            unpack(chunks, mount.source)

    def close(self) -> None:
        """See `Transport`."""
        if self._carrier is not None:
            sweep.remove_container(self._carrier)
            self._carrier = None
        while self._volumes:
            sweep.remove_volume(self._volumes.pop())


def _folder(mount: Mount) -> str:
    return str(PurePosixPath(mount.target).parent) if mount.source.is_file() else mount.target


def unpack(chunks: Iterable[bytes], folder: Path) -> None:
    """Unpacks a folder's archive into a folder here.

    Raises:
        CascadeportError: Something in it is no plain file, or would leave the folder.
    """
    stream = io.BufferedReader(_ChunkFile(chunks), buffer_size=BLOCK)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            _unpack(archive, member, folder)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    # The first part of each name is the folder itself.
    parts = PurePosixPath(member.name).parts[1:]
    if not parts or member.isdir():
        if parts and ".." not in parts:
            (folder.joinpath(*parts)).mkdir(parents=True, exist_ok=True)
        return
    content = archive.extractfile(member) if member.isfile() else None
    if content is None or ".." in parts:
        raise CascadeportError(
            f"The container left something that is no plain file: {member.name}.",
            next="Results are plain files; see what the image does.",
        )
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        while block := content.read(BLOCK):
            file.write(block)


def owned_by(user: tuple[int, int]) -> Callable[[tarfile.TarInfo], tarfile.TarInfo]:
    """A filter of `tarfile` that gives members to a user."""

    def owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid, member.gid = user
        member.uname = member.gname = ""
        # Readable to the image's user, whatever the umask was here.
        member.mode |= 0o555 if member.isdir() else 0o444
        return member

    return owned


@contextlib.contextmanager
def _packed(mount: Mount, user: tuple[int, int]) -> Iterator[Iterator[bytes]]:
    """A mount's content as the chunks of a tar."""

    def fill(archive: tarfile.TarFile) -> None:
        if mount.source.is_file():
            name = PurePosixPath(mount.target).name
            archive.add(mount.source, name, filter=owned_by(user))
        else:
            for path in sorted(mount.source.iterdir()):
                archive.add(path, path.name, filter=owned_by(user))

    with pipe_of(fill) as chunks:
        yield chunks


@contextlib.contextmanager
def pipe_of(fill: Callable[[tarfile.TarFile], None]) -> Iterator[Iterator[bytes]]:
    """A tar as chunks, made while they are sent: nothing is stored.

    Args:
        fill: Puts the members into it.
    """
    pipe = _Pipe()
    failures: list[BaseException] = []

    def pack() -> None:
        try:
            with tarfile.open(fileobj=pipe, mode="w|", dereference=True, bufsize=BLOCK) as archive:
                fill(archive)
        except BaseException as error:
            failures.append(error)
        finally:
            pipe.end()

    def read() -> Iterator[bytes]:
        yield from pipe.read_chunks()
        if failures:
            raise failures[0]

    thread = threading.Thread(target=pack, daemon=True)
    thread.start()
    try:
        yield read()
    finally:
        pipe.stop()
        thread.join(5)


class _Pipe(io.RawIOBase):
    """What tarfile writes, as chunks for another thread; a few wait at most."""

    def __init__(self) -> None:
        self._chunks: queue.Queue[bytes | None] = queue.Queue(maxsize=8)
        self._stopped = threading.Event()

    def writable(self) -> bool:
        return True

    def write(self, block: Any) -> int:
        self._put(bytes(block))
        return len(block)

    def _put(self, chunk: bytes | None) -> None:
        while not self._stopped.is_set():
            with contextlib.suppress(queue.Full):
                self._chunks.put(chunk, timeout=0.5)
                return
        if chunk is not None:
            raise BrokenPipeError("nobody reads any more")

    def end(self) -> None:
        self._put(None)

    def stop(self) -> None:
        self._stopped.set()

    def read_chunks(self) -> Iterator[bytes]:
        while (chunk := self._chunks.get()) is not None:
            yield chunk


class _ChunkFile(io.RawIOBase):
    """Chunks as the file that tarfile reads."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count
