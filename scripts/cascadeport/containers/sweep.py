"""Labels on everything that a run makes, and the removal of what dead runs left behind."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors
import psutil  # type: ignore[import-untyped]
import requests.exceptions

from cascadeport.containers import swarm_service

if TYPE_CHECKING:
    import docker

RUN = "cascadeport"
OWNER = "cascadeport.owner"
# A container that was kept for inspection has this in its name: labels cannot change later.
KEPT = "cascadeport-kept-"
# Cleaning up must not hide the error that led to it, nor fail because the engine is gone.
_IN_PASSING = (docker.errors.DockerException, requests.exceptions.RequestException, OSError)


# Clocks that are set do not make a reboot.
_CLOCK_S = 60

# Runs of this process that are over. Their engine may have been away when they ended.
_over: set[str] = set()


def owner() -> str:
    """This process, so that another one can find out later whether it is still running."""
    return f"{socket.gethostname()}/{_booted()}/{os.getpid()}/{_started(os.getpid())}"


def labels(run: str) -> dict[str, str]:
    """The labels of everything that a run makes."""
    return {RUN: run, OWNER: owner()}


def _booted() -> int:
    return round(float(psutil.boot_time()))


def _started(pid: int) -> str:
    """When a process started, in ticks or seconds since booting.

    Linux counts ticks (proc(5), field 22), which do not move when clocks are set. What psutil
    computes does, by a second: it adds the time of booting, which the kernel computes from the
    clock each time that it is asked. A run that is alive would then be taken for dead.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return "gone"
    except (OSError, UnicodeDecodeError, IndexError):
        pass
    try:
        return f"{psutil.Process(pid).create_time() - psutil.boot_time():.1f}"
    except psutil.Error:
        return "gone"


def dead(labels: Mapping[str, str]) -> bool:
    """Whether the run that made an object is over. Another machine's runs count as alive."""
    if labels.get(RUN) in _over:
        return True
    try:
        host, booted, pid, started = labels[OWNER].split("/")
        # The time of booting is computed from clocks, and moves by a second when they are set.
        rebooted = abs(int(booted) - _booted()) > _CLOCK_S
        running = _started(int(pid)) == started
    except (KeyError, ValueError):
        return False
    return host == socket.gethostname() and (rebooted or not running)


def kept(container: Any) -> bool:
    """Whether a container is kept for inspection."""
    return str(container.name).startswith(KEPT)


def sweep(client: docker.DockerClient, *, remove: bool = True) -> list[str]:
    """Removes containers, networks and volumes of dead runs; returns their names.

    Containers that a run kept for inspection (`--keep-failed`) stay.

    Args:
        client: The engine.
        remove: False: only looks.
    """
    gone = []
    for container in client.containers.list(all=True, filters={"label": RUN}):
        if dead(container.labels) and not kept(container):
            gone.append(f"container {container.name}")
            if remove:
                remove_container(container)
    for network in client.networks.list(filters={"label": RUN}):
        if dead(network.attrs.get("Labels") or {}):
            gone.append(f"network {network.name}")
            if remove:
                with contextlib.suppress(*_IN_PASSING):
                    network.remove()
    for volume in client.volumes.list(filters={"label": RUN}):
        if dead(volume.attrs.get("Labels") or {}):
            gone.append(f"volume {volume.name}")
            if remove:
                remove_volume(volume)
    over = [
        service
        for service in _services(client, {"label": RUN})
        if dead(service.attrs["Spec"].get("Labels") or {})
    ]
    if remove and over:
        _remove_services(client, over)
    return [*gone, *(f"service {service.name}" for service in over)]


def _services(client: docker.DockerClient, filters: dict[str, Any]) -> list[Any]:
    """Services of a swarm; none where the engine manages no swarm."""
    if not (client.info().get("Swarm") or {}).get("ControlAvailable"):
        return []
    return list(client.services.list(filters=filters))


def _remove_services(client: docker.DockerClient, services: list[Any]) -> None:
    """Removes services and stops their tasks; some that are already gone are fine."""
    with contextlib.suppress(*_IN_PASSING):
        swarm_service.end(client, [service.id for service in services])


def remove_run(client: docker.DockerClient, run: str) -> None:
    """Ends a run: removes everything that carries its label, kept containers aside."""
    _over.add(run)
    filters: dict[str, Any] = {"label": f"{RUN}={run}"}
    _remove_services(client, _services(client, filters))
    for container in client.containers.list(all=True, filters=filters):
        if not kept(container):
            remove_container(container)
    for volume in client.volumes.list(filters=filters):
        remove_volume(volume)


def in_passing() -> contextlib.suppress:
    """Lets a block of cleaning up fail as it may, without a word."""
    return contextlib.suppress(*_IN_PASSING)


def remove_container(container: Any) -> None:
    """Stops and removes a container; one that is already gone is fine."""
    with contextlib.suppress(*_IN_PASSING):
        container.remove(force=True, v=True)


def remove_volume(volume: Any) -> None:
    """Removes a volume unless something (a kept container) still holds it."""
    with contextlib.suppress(*_IN_PASSING):
        volume.remove()
