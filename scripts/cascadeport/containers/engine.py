"""The Docker engine: a stage's command runs in a container of its target's image.

What the container may touch is declared in compose/ and nowhere else. Containers are created and
started detached, watched from here, and removed whatever happens; see docs/containers.md.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascadeport.base import architecture
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import COMPOSE
from cascadeport.config import compose
from cascadeport.config.hosts import Host
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.containers import connection, images, refusals, sweep
from cascadeport.core.backend import Backend
from cascadeport.core.machine import Machine
from cascadeport.core.shards import in_turn
from cascadeport.core.task import Event, Mount, Task

if TYPE_CHECKING:
    import docker

_SERIAL = itertools.count(1)


class DockerEngine:
    """Runs tasks in containers; see `Engine`.

    Args:
        name: The target's name in targets.toml.
        target: The target.
        backend: The target's backend.
        options: `keep_failed` and `build` are read.
        host: Where the engine is.
        environ: The environment; compose files are filled with it and with what is known here.
    """

    name = "docker"
    in_containers = True
    spread = False

    def __init__(
        self,
        name: str,
        target: Target,
        backend: Backend[Any],
        options: Options,
        host: Host,
        environ: Mapping[str, str],
    ) -> None:
        self._target = target
        self._backend = backend
        self._options = options
        self._host = host
        self._environ = _with_user(environ)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        # A process may open several engines within a second, and each removes only its own.
        self.run_id = f"{name}-{stamp}-{os.getpid()}-{next(_SERIAL)}"
        self._client: docker.DockerClient | None = None
        self._files: dict[tuple[Path, bool], dict[str, compose.Service]] = {}
        self._looked: Mapping[str, str] | None = None
        self._images: dict[str, str] = {}
        self.swept: list[str] = []

    # --- declarations

    @property
    def variables(self) -> Mapping[str, str]:
        """What fills compose files and build arguments, while only a plan is made."""
        known = self._backend.variables(self._options, self._environ, None)
        machine = architecture.of_platform(self._options.platform)
        return {**self._environ, architecture.VARIABLE: machine, **known}

    @property
    def variables_there(self) -> Mapping[str, str]:
        """The same, once the host with the devices has been asked."""
        if self._looked is None:
            machine = Machine(self._host, self._environ.get("PATH", os.defpath))
            known = self._backend.variables(self._options, self._environ, machine)
            own = self._options.platform
            there = architecture.of_platform(own) if own else machine.architecture
            self._looked = {**self._environ, architecture.VARIABLE: there, **known}
        return self._looked

    def service(self, stage: str) -> compose.Service:
        """The declaration of the container that runs a stage."""
        return self._declared(stage, there=True)[0]

    def _declared(self, stage: str, *, there: bool) -> tuple[compose.Service, Path]:
        """The service that runs a stage, and the folder of its compose file.

        It is the service of the stage's name in the target's compose file, else in
        compose/STAGE.yaml.
        """
        own, shared = COMPOSE / self._target.compose, COMPOSE / f"{stage}.yaml"
        for path in (own, shared):
            if path == own or path.exists():
                services = self._read(path, there)
                if stage in services:
                    return services[stage], path.parent
        raise CascadeportError(
            f"No service runs stage {stage} of this target.",
            where=str(own),
            next=f"Declare a service named {stage} there.",
        )

    def _read(self, path: Path, there: bool) -> dict[str, compose.Service]:
        if (path, there) not in self._files:
            variables = self.variables_there if there else self.variables
            self._files[path, there] = compose.load(path, variables)
        return self._files[path, there]

    def planned(self, stage: str) -> Mapping[str, str]:
        """What is known of a stage's image before anything runs; see `Engine`."""
        service, folder = self._declared(stage, there=False)
        known = {"engine": "docker", "image": service.image}
        if service.build is not None:
            known["recipe"] = self._recipe(service, folder, self.variables).digest
        return known

    def _recipe(
        self, service: compose.Service, folder: Path, variables: Mapping[str, str]
    ) -> images.Recipe:
        assert service.build is not None
        made_later = self._backend.source_digests(self._options)
        made = images.recipe(service.image, service.build, folder, variables, made_later)
        return dataclasses.replace(made, platform=self._options.platform)

    # --- runs

    def path(self, mount: Mount) -> str:
        """A command in a container sees the mount's target."""
        return mount.target

    def path_of_shards(self, mount: Mount) -> str:
        """See `path`."""
        return self.path(mount)

    def identity(self) -> Mapping[str, str]:
        """The host, its engine and the images that were used, by id."""
        known = {"engine": "docker", "host": self._host.host}
        if self._client is not None:
            with contextlib.suppress(Exception):
                known["engine_version"] = str(self._client.version()["Version"])
        known.update({f"image:{name}": image for name, image in self._images.items()})
        return known

    @property
    def client(self) -> docker.DockerClient:
        """The connection; opened on first use, when leftovers of dead runs are removed as well."""
        if self._client is None:
            self._client = connection.connect(self._host)
            with refusals.explained(self._host.host, "sweep", self._backend):
                self.swept = sweep.sweep(self._client)
        return self._client

    def containment(self) -> str:
        """Of every task: what compose/ declares for each service."""
        return "a container: no network, no capabilities, no files but its mounts"

    def run(self, task: Task, on_event: Callable[[Event], None]) -> None:
        """Runs a task in a fresh container of its service's image."""
        self._run(task, None, on_event)

    def run_in(self, image: str, task: Task, on_event: Callable[[Event], None]) -> None:
        """Runs a task as `run` does, in an image that is there already.

        Args:
            image: The image's id.
        """
        self._run(task, image, on_event)

    def run_shards(self, task: Task, count: int, on_event: Callable[[Event], None]) -> None:
        """See `Engine`: one after the other, on the one host that there is."""
        in_turn(self.run, task, count, on_event)

    def image(self, stage: str, on_event: Callable[[Event], None]) -> str:
        """Builds the image that a stage runs in, where it is not there; returns its id."""
        service, folder = self._declared(stage, there=True)
        return self._image(service, folder, on_event)

    def _run(self, task: Task, image: str | None, on_event: Callable[[Event], None]) -> None:
        from cascadeport.containers import container

        service, folder = self._declared(task.stage, there=True)
        client = self.client
        self._tell_swept(on_event)
        if self._host.local:
            container.check_devices(service, self._backend)
        image = image or self._image(service, folder, on_event)
        with refusals.explained(self._host.host, task.stage, self._backend):
            container.run(
                client,
                task,
                service,
                folder,
                image=image,
                run_id=self.run_id,
                host=self._host,
                keep_failed=self._options.keep_failed,
                platform=self._options.platform,
                on_event=on_event,
            )

    def _tell_swept(self, on_event: Callable[[Event], None]) -> None:
        for leftover in self.swept:
            on_event({"event": "note", "text": f"removed {leftover} of a run that died"})
        self.swept = []

    def _connect(self) -> docker.DockerClient:
        """Another connection to the same engine."""
        return connection.connect(self._host)

    def _image(
        self, service: compose.Service, folder: Path, on_event: Callable[[Event], None]
    ) -> str:
        """Builds the service's image, once per run; the engine's cache makes repeats short."""
        if service.image in self._images:
            return self._images[service.image]
        if service.build is None:
            raise CascadeportError(
                f"The image {service.image} has no build declaration.", where=str(folder)
            )
        self._backend.prepare(self._options, service, self.variables_there)
        recipe = self._recipe(service, folder, self.variables_there)
        log = self._options.build / "images" / f"{service.image.replace('/', '-')}.log"
        self._images[service.image] = images.build(
            recipe,
            connection.command_line(self._host),
            {"io.cascadeport.recipe": recipe.digest},
            log,
            on_event,
        )
        return self._images[service.image]

    def close(self) -> None:
        """Removes whatever this run still has on the host."""
        if self._client is None:
            return
        with contextlib.suppress(Exception):
            sweep.remove_run(self._client, self.run_id)
        self._client.close()
        self._client = None


def _with_user(environ: Mapping[str, str]) -> Mapping[str, str]:
    if os.getuid() == 0:
        return environ
    # Results belong to whoever started the run. A run as root keeps the image's own user.
    return {"CASCADEPORT_USER": f"{os.getuid()}:{os.getgid()}", **environ}
