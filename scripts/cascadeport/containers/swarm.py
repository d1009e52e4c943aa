"""The swarm engine: a pass in shards on the nodes of a Docker Swarm; docs/swarm.md.

Everything else (building, converting, exporting) runs in containers of the manager's engine.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cascadeport.base.errors import CascadeportError
from cascadeport.config.compose import Service
from cascadeport.containers import container as containers
from cascadeport.containers import refusals, registry, service
from cascadeport.containers.engine import DockerEngine
from cascadeport.containers.shared_volume import SharedVolume
from cascadeport.containers.swarm_job import Job, Request
from cascadeport.containers.transport import BindTransport
from cascadeport.core.task import Event, Mount, Task

if TYPE_CHECKING:
    import docker

_INPUTS = ".inputs"


class SwarmEngine(DockerEngine):
    """Runs the shards of a pass as a job of a swarm; see `Engine` and `DockerEngine`.

    Of the options, `volume` and `registry` are read as well.
    """

    name = "swarm"
    spread = True

    def planned(self, stage: str) -> Mapping[str, str]:
        """See `Engine`."""
        known = super().planned(stage)
        return {**known, "engine": "swarm"} if stage == "infer" else known

    def identity(self) -> Mapping[str, str]:
        """See `DockerEngine`; also what the tasks could not be told."""
        known = {**super().identity(), "engine": "swarm"}
        unsaid = service.unsaid(self.service("infer"))
        return {**known, "not expressed": ", ".join(unsaid)} if unsaid else known

    def path_of_shards(self, mount: Mount) -> str:
        """See `DockerEngine`; in a volume that nodes share, files are where it keeps them."""
        volume = self._options.volume
        return mount.target if volume is None else SharedVolume.path(mount)

    def run_shards(self, task: Task, count: int, on_event: Callable[[Event], None]) -> None:
        """Runs the shards on the nodes that have the target's label."""
        declared, folder = self._declared(task.stage, there=True)
        client = self.client
        self._tell_swept(on_event)
        target = self._options.target
        elsewhere = self._backend.devices_by_runtime(declared)
        needed = service.resources(declared, target, elsewhere)
        with refusals.explained(self._host.host, task.stage, self._backend):
            require_nodes(client, self._host.host, target)
            image = self._image(declared, folder, on_event)
            for clause in service.unsaid(declared):
                on_event(_note(f"a task of Swarm cannot be told: {clause}; see docs/swarm.md"))
            reference = self._reference(client, declared, image, on_event)
            with self._mounted(client, task, declared, image, on_event) as mounts:
                request = Request(
                    name=f"cascadeport-{self.run_id}",
                    target=target,
                    service=declared,
                    image=reference,
                    environment={**(elsewhere or {}), **task.env},
                    mounts=[*mounts, *service.binds(declared, folder)],
                    user=containers.user_of(declared),
                    run_id=self.run_id,
                    needed=needed,
                )
                Job(client, self._connect, request, task, count, on_event).run()

    def _reference(
        self,
        client: docker.DockerClient,
        declared: Service,
        image: str,
        on_event: Callable[[Event], None],
    ) -> str:
        """What nodes are told to run: nothing but this very image."""
        if self._options.registry is None:
            return image
        return registry.push(client, image, declared.image, self._options.registry, on_event)

    @contextlib.contextmanager
    def _mounted(
        self,
        client: docker.DockerClient,
        task: Task,
        declared: Service,
        image: str,
        on_event: Callable[[Event], None],
    ) -> Iterator[list[Any]]:
        """The task's mounts on every node; results are back when the block ends."""
        user = containers.user_of(declared)
        mounts = [one for one in task.mounts if not containers.is_of_the_image(one)]
        if self._options.volume is not None:
            shared = SharedVolume(client, self._options.volume, image, self.run_id, user)
            with contextlib.closing(shared):
                yield shared.send(mounts, on_event)
                shared.receive()
            return
        transport = BindTransport(user)
        try:
            yield [*transport.send(_here(mounts))]
        finally:
            transport.close()


def _here(mounts: list[Mount]) -> list[Mount]:
    """Files are put beside the results: of two folders that all nodes have, one suffices."""
    out = next(one for one in mounts if one.writable)
    found = []
    for number, mount in enumerate(mounts):
        if mount.source.is_file():
            copy = out.source / _INPUTS / str(number) / mount.source.name
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                part = copy.with_name(copy.name + ".part")
                shutil.copyfile(mount.source, part)
                part.rename(copy)
            found.append(replace(mount, source=copy))
        else:
            found.append(mount)
    return found


def require_nodes(client: docker.DockerClient, address: str, target: str) -> list[str]:
    """The names of the nodes that can run a target's shards now.

    Raises:
        CascadeportError: The engine manages no swarm, or there is no such node.
    """
    swarm = client.info().get("Swarm") or {}
    if not swarm.get("ControlAvailable"):
        is_worker = swarm.get("LocalNodeState") == "active"
        raise CascadeportError(
            "This Docker Engine is a worker of its swarm, and only managers take jobs."
            if is_worker
            else "This Docker Engine is in no swarm.",
            where=address,
            next="Name a manager in hosts.toml or DOCKER_HOST."
            if is_worker
            else "Make it one (docker swarm init), and let the other nodes join it; docs/swarm.md.",
        )
    wanted = service.label(target)
    labelled = [
        node
        for node in client.api.nodes()
        if (node["Spec"].get("Labels") or {}).get(wanted) == "true"
    ]
    ready = [
        str(node["Description"]["Hostname"])
        for node in labelled
        if node["Status"]["State"] == "ready" and node["Spec"]["Availability"] == "active"
    ]
    if not ready:
        names = ", ".join(str(node["Description"]["Hostname"]) for node in labelled)
        raise CascadeportError(
            f"None of the nodes with the label of {target} is ready and active: {names}."
            if labelled
            else f"No node of the swarm has the label of {target}.",
            where=f"{address}: {wanted}=true",
            next="See `docker node ls`; bring one back."
            if labelled
            else f"Give it to the nodes that are to work: docker node update --label-add "
            f"{wanted}=true NODE",
        )
    return ready


def _note(text: str) -> Event:
    return {"event": "note", "text": text}
