"""A Docker volume that all nodes of a swarm share: files travel in it, under names of their own.

Whoever made it says where it is (NFS, a cluster file system): a volume of the driver `local`
without options is another one on every node, and a shard there finds no job.

    files/<digest>/NAME       a network, by its content
    pictures/<digest>/…       a data set's pictures, by their names, sizes and times
    runs/<name>/…             a pass: its job, and its shards until it is complete

What is there already is not sent again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import docker.errors
from docker.types import Mount as DockerMount

from cascadeport.base import digest
from cascadeport.containers import sweep, transport
from cascadeport.core.task import Event, Mount

if TYPE_CHECKING:
    import docker

ROOT = PurePosixPath("/cascadeport")
_COMPLETE = ".complete"
_REMOVE = "import shutil, sys; shutil.rmtree(sys.argv[1])"


class SharedVolume:
    """Carries a task's files to the nodes and its results back, through a volume.

    Args:
        client: A manager's engine, which has the volume as well.
        volume: Its name.
        image: An image of that engine, with Python.
        run: The run's id, for labels.
        user: The uid and gid that tasks run as.
    """

    def __init__(
        self,
        client: docker.DockerClient,
        volume: str,
        image: str,
        run: str,
        user: tuple[int, int],
    ) -> None:
        self._client = client
        self._mount = DockerMount(target=str(ROOT), source=volume, type="volume")
        self._image = image
        self._labels = sweep.labels(run)
        self._user = user
        self._out: Mount | None = None
        self._carrier: Any = None

    @staticmethod
    def path(mount: Mount) -> str:
        """Where a task finds a mount of this machine."""
        return str(ROOT / _place(mount))

    def send(self, mounts: Sequence[Mount], on_event: Callable[[Event], None]) -> list[Any]:
        """Sends what is not there yet; returns the mounts of a task."""
        self._carrier = self._client.containers.create(
            self._image,
            ["true"],
            labels=self._labels,
            network_mode="none",
            mounts=[self._mount],
        )
        for mount in mounts:
            place = _place(mount)
            if mount.writable:
                self._out = mount
            elif self._has(place):
                continue
            else:
                text = f"sending {mount.source} into the volume"
                on_event({"event": "note", "text": text})
            self._put(mount, place)
        return [self._mount]

    def _has(self, place: PurePosixPath) -> bool:
        folder = place if place.parts[0] == "pictures" else place.parent
        try:
            self._carrier.get_archive(str(ROOT / folder / _COMPLETE))
        except docker.errors.NotFound:
            return False
        return True

    def _put(self, mount: Mount, place: PurePosixPath) -> None:
        folder = place.parent if mount.source.is_file() else place
        # Folders belong to the tasks' user, so that shards can be written beside each other.
        with transport.pipe_of(lambda archive: self._pack(archive, mount, folder)) as chunks:
            self._carrier.put_archive(str(ROOT), chunks)

    def _pack(self, archive: tarfile.TarFile, mount: Mount, folder: PurePosixPath) -> None:
        for count in range(1, len(folder.parts) + 1):
            made = tarfile.TarInfo(str(PurePosixPath(*folder.parts[:count])))
            made.type, made.mode, made.mtime = tarfile.DIRTYPE, 0o755, int(time.time())
            made.uid, made.gid = self._user
            archive.addfile(made)
        for path, name in _files(mount):
            archive.add(path, str(folder / name), filter=transport.owned_by(self._user))
        if not mount.writable:
            done = tarfile.TarInfo(str(folder / _COMPLETE))
            done.uid, done.gid = self._user
            done.mode = 0o644
            archive.addfile(done, io.BytesIO())

    def receive(self) -> None:
        """Copies results to where the task's folder is here, and removes them there."""
        assert self._out is not None
        place = ROOT / _place(self._out)
        chunks, _ = self._carrier.get_archive(str(place), chunk_size=transport.BLOCK)
        transport.unpack(chunks, self._out.source)
        remover = self._client.containers.create(
            self._image,
            ["-c", _REMOVE, str(place)],
            entrypoint=["python3"],
            labels=self._labels,
            network_mode="none",
            mounts=[self._mount],
            user=f"{self._user[0]}:{self._user[1]}",
        )
        try:
            remover.start()
            remover.wait(timeout=300)
        finally:
            sweep.remove_container(remover)

    def close(self) -> None:
        """Removes what was made for the transfer. What was sent stays, for the next run."""
        if self._carrier is not None:
            sweep.remove_container(self._carrier)
            self._carrier = None


def _place(mount: Mount) -> PurePosixPath:
    """Where a mount is in the volume."""
    if mount.writable:
        return PurePosixPath("runs", mount.source.name.lstrip("."))
    if mount.source.is_file():
        return PurePosixPath("files", digest.of_file(mount.source)[:16], mount.source.name)
    sha = hashlib.sha256()
    for path, name in _files(mount):
        facts = path.stat()
        sha.update(f"{name}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode())
    return PurePosixPath("pictures", sha.hexdigest()[:16])


def _files(mount: Mount) -> Iterator[tuple[Path, str]]:
    """The files of a mount, and their names in it. Of a task's own folder only what it needs."""
    if mount.source.is_file():
        yield mount.source, mount.source.name
        return
    for path in sorted(mount.source.rglob("*")):
        name = path.relative_to(mount.source).as_posix()
        # Finished shards are there; what this machine keeps of them is what came back.
        if path.is_file() and (not mount.writable or "/" not in name):
            with contextlib.suppress(OSError):
                path.stat()
                yield path, name
