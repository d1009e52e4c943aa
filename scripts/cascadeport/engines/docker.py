"""The docker engine: a stage's command runs in a container of its target's image.

What the container may touch is declared in compose/ and nowhere else. Containers are created and
started detached, watched from here, and removed whatever happens; see docs/containers.md.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeport.engines import Event, Mount, Task, ascend, compose, faults, hosts, images, sweep
from cascadeport.errors import CascadeportError
from cascadeport.options import REPOSITORY, Options
from cascadeport.targets import Target

if TYPE_CHECKING:
    import docker


def service_of(
    stage: str, target: Target, variables: Mapping[str, str]
) -> tuple[compose.Service, Path]:
    """The service that runs a stage, and the folder of its compose file.

    It is the service of the stage's name in the target's compose file, else in compose/STAGE.yaml.
    """
    path = REPOSITORY / "compose" / target.compose
    services = compose.load(path, variables)
    if stage not in services and (REPOSITORY / "compose" / f"{stage}.yaml").exists():
        path = REPOSITORY / "compose" / f"{stage}.yaml"
        services = compose.load(path, variables)
    if stage not in services:
        raise CascadeportError(
            f"No service runs stage {stage} of this target.",
            where=str(path),
            next=f"Declare a service named {stage} there.",
        )
    return services[stage], path.parent


def variables_of(
    options: Options, environ: Mapping[str, str], host: hosts.Host | None = None
) -> dict[str, str]:
    """What fills compose files and build arguments: the environment, and what is known here.

    Args:
        host: Where containers run, once it is to be asked; None while only a plan is made.
    """
    found = dict(environ)
    if os.getuid() != 0:
        # Results belong to who asked for them. A run as root keeps the image's own user.
        found.setdefault("CASCADEPORT_USER", f"{os.getuid()}:{os.getgid()}")
    found.update(ascend.variables(options, found, host))
    return found


def identity(stage: str, target: Target, options: Options) -> Mapping[str, str]:
    """What is known of a stage's image before anything runs; see `Engine.identity`."""
    variables = variables_of(options, os.environ)
    service, folder = service_of(stage, target, variables)
    known = {"engine": "docker", "image": service.image}
    if service.build is not None:
        made_later = ascend.stand_in_digests(options)
        recipe = images.recipe(service.image, service.build, folder, variables, made_later)
        known["recipe"] = recipe.digest
    return known


class DockerEngine:
    """Runs tasks in containers; see `Engine`.

    Args:
        name: The target's name in targets.toml.
        target: The target.
        options: `simulate`, `keep_failed`, `build` and the place of hosts.toml are read.
    """

    name = "docker"

    def __init__(self, name: str, target: Target, options: Options) -> None:
        self._target = target
        self._options = options
        self._host = hosts.find(name, hosts.load(REPOSITORY / hosts.FILE))
        self._variables = variables_of(options, os.environ, self._host)
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        self.run_id = f"{name}-{stamp}-{os.getpid()}"
        self._client: docker.DockerClient | None = None
        self._images: dict[str, str] = {}
        self.swept: list[str] = []

    def path(self, mount: Mount) -> str:
        """A command in a container sees the mount's target."""
        return mount.target

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
        """The connection; made when first asked for, and leftovers of dead runs removed then."""
        if self._client is None:
            self._client = hosts.connect(self._host)
            with faults.explained(self._host.host, "sweep"):
                self.swept = sweep.sweep(self._client)
        return self._client

    def run(self, task: Task, on_event: Callable[[Event], None]) -> None:
        """Runs a task in a fresh container of its service's image."""
        from cascadeport.engines import containers

        service, folder = service_of(task.stage, self._target, self._variables)
        address = self._host.host
        client = self.client
        for leftover in self.swept:
            on_event({"event": "note", "text": f"removed {leftover} of a run that died"})
        self.swept = []
        if self._host.local:
            containers.check_devices(service)
        image = self._image(service, folder, on_event)
        with faults.explained(address, task.stage):
            containers.run(
                client,
                task,
                service,
                folder,
                image=image,
                run_id=self.run_id,
                host=self._host,
                keep_failed=self._options.keep_failed,
                on_event=on_event,
            )

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
        if "CANN" in service.build.args:
            runner, _ = service_of("infer", self._target, self._variables)
            ascend.prepare(self._options, compose.chips(runner), self._variables)
        made_later = ascend.stand_in_digests(self._options)
        recipe = images.recipe(service.image, service.build, folder, self._variables, made_later)
        log = self._options.build / "images" / f"{service.image.replace('/', '-')}.log"
        self._images[service.image] = images.build(
            recipe,
            hosts.command_line(self._host),
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
