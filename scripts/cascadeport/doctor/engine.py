"""The Docker Engine of a target: whether it answers, how it builds, its disk, its runtimes."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeport.doctor.findings import Check, Context, Finding
from cascadeport.engines import wheels
from cascadeport.options import REPOSITORY

if TYPE_CHECKING:
    import docker

# Before 19.03 there are no device requests; 20.10 is the oldest that the tests run on.
_OLDEST = (20, 10)
# An image with its layers while it is built: measured for cpu, from the parts' sizes elsewhere
# (CANN toolkit 5.1.RC2 unpacks to several GB; onnxruntime-gpu and the CUDA libraries likewise).
_NEEDED_GB = {"cpu": 1.0, "t4": 12.0, "ascend310": 16.0, "ascend310p": 16.0}


@contextlib.contextmanager
def _client(context: Context) -> Iterator[docker.DockerClient]:
    from cascadeport.engines import hosts

    client = hosts.connect(context.host)
    try:
        yield client
    finally:
        client.close()


def _engine(context: Context) -> Finding:
    with _client(context) as client:
        version = str(client.version()["Version"])
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < _OLDEST:
        return Finding(
            "engine",
            "warn",
            f"Docker Engine {version} at {context.host.host}.",
            reason="20.10 is the oldest that has been tried.",
            remedy="Update the engine if something fails.",
        )
    return Finding("engine", "ok", f"Docker Engine {version} at {context.host.host}.")


def _builder(context: Context) -> Finding:
    from cascadeport.engines import images

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
        root = Path(str(client.info()["DockerRootDir"]))
    needed = _NEEDED_GB.get(context.target.image, 1.0)
    if not context.here or not root.exists():
        return Finding(
            "image store",
            "warn",
            f"{root} on {context.host.host} was not looked at.",
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
    assert context.service is not None
    wanted = context.service.runtime
    with _client(context) as client:
        known = sorted(client.info().get("Runtimes") or {})
    if wanted in known:
        return Finding("runtime", "ok", f"The engine has the runtime {wanted}.")
    return Finding(
        "runtime",
        "fail",
        f"The engine does not know the runtime {wanted}; it has {', '.join(known)}.",
        reason="The compose file of the target asks for it.",
        remedy="Install it and register it in the engine's daemon.json.",
    )


def _wheelhouse(context: Context) -> Finding:
    house = REPOSITORY / context.variables["WHEELS"]
    folder = house / wheels.folders(context.target.image)[0]
    lock = REPOSITORY / wheels.LOCKS[folder.name][0]
    wanted = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", lock.read_text(), flags=re.MULTILINE)
    have = [re.sub(r"[-_.]+", "_", wheel.name).lower() for wheel in folder.glob("*.whl")]
    absent = []
    for name, version in wanted:
        start = re.sub(r"[-_.]+", "_", f"{name}-{version}-").lower()
        if not any(wheel.startswith(start) for wheel in have):
            absent.append(f"{name}=={version}")
    if absent:
        return Finding(
            "wheelhouse",
            "fail",
            f"{folder} lacks {', '.join(absent)}.",
            reason="WHEELS is set: the image is built from this folder alone.",
            remedy=f"Fetch it where an index can be reached: make wheels TARGET={context.name}.",
        )
    return Finding("wheelhouse", "ok", f"{folder} holds the {len(wanted)} packages of the lock.")


CHECKS = (
    Check("engine", lambda context: context.engine == "docker", _engine),
    Check("builder", lambda context: context.engine == "docker", _builder),
    Check("image store", lambda context: context.engine == "docker", _store),
    Check(
        "runtime",
        lambda context: context.service is not None and context.service.runtime is not None,
        _runtime,
    ),
    Check(
        "wheelhouse",
        lambda context: context.engine == "docker" and bool(context.variables.get("WHEELS")),
        _wheelhouse,
    ),
)
