"""Labels on everything that a run makes, and the removal of what dead runs left behind."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import docker.errors
import psutil  # type: ignore[import-untyped]
import requests.exceptions

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
    """Seconds from booting to a process's start, which do not move when clocks are set."""
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


def sweep(client: docker.DockerClient) -> list[str]:
    """Removes containers, networks and volumes of dead runs; returns their names.

    Containers that a run kept for inspection (`--keep-failed`) stay.
    """
    gone = []
    for container in client.containers.list(all=True, filters={"label": RUN}):
        if dead(container.labels) and not kept(container):
            gone.append(f"container {container.name}")
            remove_container(container)
    for network in client.networks.list(filters={"label": RUN}):
        if dead(network.attrs.get("Labels") or {}):
            gone.append(f"network {network.name}")
            with contextlib.suppress(*_IN_PASSING):
                network.remove()
    for volume in client.volumes.list(filters={"label": RUN}):
        if dead(volume.attrs.get("Labels") or {}):
            gone.append(f"volume {volume.name}")
            remove_volume(volume)
    return gone


def remove_run(client: docker.DockerClient, run: str) -> None:
    """Ends a run: removes everything that carries its label, kept containers aside."""
    _over.add(run)
    filters: dict[str, Any] = {"label": f"{RUN}={run}"}
    for container in client.containers.list(all=True, filters=filters):
        if not kept(container):
            remove_container(container)
    for volume in client.volumes.list(filters=filters):
        remove_volume(volume)


def remove_container(container: Any) -> None:
    """Stops and removes a container; one that is already gone is fine."""
    with contextlib.suppress(*_IN_PASSING):
        container.remove(force=True, v=True)


def remove_volume(volume: Any) -> None:
    """Removes a volume unless something (a kept container) still holds it."""
    with contextlib.suppress(*_IN_PASSING):
        volume.remove()
