"""The Docker Engine of a target: whether it answers, how it builds, its disk, its runtimes."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.version import Version

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.containers import connection, images, refusals, swarm, sweep, wheels
from cascadeport.core.check import Check, Finding
from cascadeport.core.context import Context

if TYPE_CHECKING:
    import docker

# Before 19.03 there are no device requests; 20.10 is the oldest that the tests run on.
_OLDEST = Version("20.10")


@contextlib.contextmanager
def _client(context: Context) -> Iterator[docker.DockerClient]:
    client = connection.connect(context.host)
    try:
        with refusals.explained(context.host.host, "doctor", backends.of(context.target)):
            yield client
    finally:
        client.close()


def _engine(context: Context) -> Finding:
    with _client(context) as client:
        version = str(client.version().get("Version", "unknown"))
    if _version(version) < _OLDEST:
        return Finding(
            "engine",
            "warn",
            f"Docker Engine {version} at {context.host.host}.",
            reason="20.10 is the oldest that has been tried.",
            remedy="Update the engine if something fails.",
        )
    return Finding("engine", "ok", f"Docker Engine {version} at {context.host.host}.")


def _builder(context: Context) -> Finding:
    program, environment = images.command()
    if environment["DOCKER_BUILDKIT"] == "1":
        return Finding("builder", "ok", f"{program[0]} builds with BuildKit.")
    return Finding(
        "builder",
        "warn",
        f"{program[0]} has no BuildKit.",
        reason="Builds run in the classic builder: slower, every stage of a Dockerfile is built.",
        remedy="Install the plugin buildx (apt-get install docker-buildx-plugin).",
    )


def _store(context: Context) -> Finding:
    with _client(context) as client:
        root = Path(str(client.info().get("DockerRootDir") or "the image store"))
    needed = wheels.facts(_image(context)).disk_gb
    if not context.is_here or not root.exists():
        return Finding(
            "image store",
            "warn",
            f"{root} on {context.host.host} was not checked.",
            reason=f"Building the image takes up to {needed:.0f} GB.",
            remedy="See that there is room; an image store that is full ends the build.",
        )
    free = shutil.disk_usage(root).free / 1e9
    if free < needed:
        return Finding(
            "image store",
            "fail" if free < needed / 4 else "warn",
            f"{free:.1f} GB free in {root}.",
            reason=f"Building the image takes up to {needed:.0f} GB.",
            remedy="docker system prune, or move the engine's data-root to a larger disk.",
        )
    return Finding("image store", "ok", f"{free:.1f} GB free in {root}.")


def _runtime(context: Context) -> Finding:
    wanted = _declared_runtime(context)
    with _client(context) as client:
        known = sorted(map(str, client.info().get("Runtimes") or {}))
    if wanted in known:
        return Finding("runtime", "ok", f"The engine has the runtime {wanted}.")
    return Finding(
        "runtime",
        "fail",
        f"The engine does not know the runtime {wanted}; it has {', '.join(known)}.",
        reason="The compose file of the target asks for it.",
        remedy="Install it and register it in the engine's daemon.json.",
    )


def _leftovers(context: Context) -> Finding:
    with _client(context) as client:
        found = sweep.sweep(client, remove=False)
    if not found:
        return Finding("leftovers", "ok", "Nothing is left of runs that died.")
    return Finding(
        "leftovers",
        "warn",
        f"Runs that died left {', '.join(found)}.",
        reason="They hold disk space, and a container that still runs holds its device.",
        remedy="cascadeport doctor --fix removes them; so does the next run.",
    )


def _remove_leftovers(context: Context) -> str:
    with _client(context) as client:
        return f"removed {', '.join(sweep.sweep(client))}"


def _fill_wheelhouse(context: Context) -> str:
    folder = REPOSITORY / context.variables["WHEELS"] / _image(context)
    wheels.download(_image(context), folder, context.architecture)
    return f"downloaded the packages of the lock to {folder}"


def _image(context: Context) -> str:
    return backends.of(context.target).image(context.options)


def _declared_runtime(context: Context) -> str | None:
    service = context.engine.service("infer")
    return service.runtime if service is not None else None


def _version(text: str) -> Version:
    """An engine's version; distributions append words of their own to it."""
    found = re.match(r"\d{1,9}(\.\d{1,9})*", text)
    return Version(found[0] if found else "0")


def _wheelhouse(context: Context) -> Finding:
    folder = REPOSITORY / context.variables["WHEELS"] / _image(context)
    wanted = wheels.pinned(_image(context))
    have = [re.sub(r"[-_.]+", "_", wheel.name).lower() for wheel in folder.glob("*.whl")]
    absent = []
    for name, version in wanted.items():
        start = re.sub(r"[-_.]+", "_", f"{name}-{version}-").lower()
        if not any(wheel.startswith(start) for wheel in have):
            absent.append(f"{name}=={version}")
    if absent:
        return Finding(
            "wheelhouse",
            "fail",
            f"{folder} lacks {', '.join(absent)}.",
            reason="WHEELS is set: the image is built from this folder alone.",
            remedy="Fetch it where an index can be reached: "
            f"cascadeport wheels --target {context.name}.",
        )
    return Finding("wheelhouse", "ok", f"{folder} holds the {len(wanted)} packages of the lock.")


def _swarm(context: Context) -> Finding:
    with _client(context) as client:
        try:
            names = swarm.require_nodes(client, context.host.host, context.name)
        except CascadeportError as error:
            return Finding("swarm", "fail", error.what, reason=error.where, remedy=error.next)
    return Finding("swarm", "ok", f"Nodes that can work: {', '.join(sorted(names))}.")


def _concerned(context: Context) -> bool:
    return context.engine.in_containers


CHECKS = (
    Check("engine", _concerned, _engine),
    Check("swarm", lambda context: context.engine.spread, _swarm),
    Check("builder", _concerned, _builder),
    Check("image store", _concerned, _store),
    Check("runtime", lambda c: _concerned(c) and _declared_runtime(c) is not None, _runtime),
    Check(
        "wheelhouse",
        lambda c: _concerned(c) and bool(c.variables.get("WHEELS")),
        _wheelhouse,
        repair=_fill_wheelhouse,
    ),
)
# A run removes them by itself.
TIDINESS = (Check("leftovers", _concerned, _leftovers, repair=_remove_leftovers),)
