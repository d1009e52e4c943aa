"""One container: created, watched to its end, explained, removed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import compose
from cascadeport.config.hosts import Host
from cascadeport.containers import declaration, exclusive, refusals, sweep
from cascadeport.containers.transport import ArchiveTransport, BindTransport, Transport
from cascadeport.core.backend import Backend
from cascadeport.core.follow import follow, tail
from cascadeport.core.task import Event, Mount, Task

if TYPE_CHECKING:
    import docker

_KILLED = 128 + 9
# What is below this path comes from the image: the code, and the packages that it needs.
_OF_THE_IMAGE = PurePosixPath("/opt")
# Where a job's files are in every image.
_JOB = ("/model", "/data", "/out")


def check_devices(service: compose.Service, backend: Backend[Any]) -> None:
    """Looks for the device nodes before a container asks for them.

    Raises:
        CascadeportError: One is missing.
    """
    for node in compose.device_paths(service):
        if not Path(node).exists():
            raise refusals.no_device(node, "this machine", backend.device_remedy(node))


def run(
    client: docker.DockerClient,
    task: Task,
    service: compose.Service,
    folder: Path,
    *,
    image: str,
    run_id: str,
    host: Host,
    keep_failed: bool,
    platform: str | None = None,
    on_event: Callable[[Event], None],
) -> None:
    """Runs a task in a container and removes it, whatever happens.

    Args:
        folder: The compose file's folder.
        image: The image's id.
        run_id: For labels.
        keep_failed: Leave the container of a failed command for a look.
        platform: Docker's name of the image's platform; None: the engine's own.

    Raises:
        CascadeportError: The command failed, was killed, hung, or ran out of memory.
    """
    user = user_of(service)
    shared = host.local and not _has_user_namespaces(client)
    transport: Transport = (
        BindTransport(user) if shared else ArchiveTransport(client, image, run_id, user)
    )
    container: Any = None
    failed = True
    try:
        mounts = [m for m in task.mounts if not is_of_the_image(m)]
        request = create_request(service, task, folder, user, shared=shared)
        if not shared:
            mounts += [
                Mount(Path(source), target)
                for source, target, _ in _declared(service, folder)
                if _ours(source)
            ]
        request["mounts"] += transport.send(mounts)
        if platform is not None:
            request["platform"] = platform
        container = client.containers.create(
            image, list(task.argv), detach=True, labels=sweep.labels(run_id), **request
        )

        def waiting(text: str) -> None:
            on_event({"event": "note", "text": text})

        with exclusive.held(client, task.devices, image=image, run_id=run_id, waiting=waiting):
            failure = _watch(container, task, on_event)
        transport.receive()
        _judge(container, task, service, failure)
        failed = False
    finally:
        if container is not None:
            if failed and keep_failed:
                _keep(container, on_event)
            else:
                sweep.remove_container(container)
        transport.close()


def is_of_the_image(mount: Mount) -> bool:
    """Whether an image has what a mount is about itself."""
    return _OF_THE_IMAGE in PurePosixPath(mount.target).parents


def create_request(
    service: compose.Service,
    task: Task,
    folder: Path,
    user: tuple[int, int],
    *,
    shared: bool = True,
) -> dict[str, Any]:
    """The request to the engine: the declaration, and the task's own environment.

    The job's own mounts are declared for those who run `docker compose` by hand; a task
    has mounts of its own instead.

    Args:
        shared: Whether the engine sees this machine's files. Where it does not, declared files of
            this checkout (a simulator's driver) have to travel; all others are the host's own.
    """
    from docker.types import Mount as DockerMount

    request = declaration.create_arguments(service)
    request["user"] = f"{user[0]}:{user[1]}"
    request["environment"] = {**request.get("environment", {}), **task.env}
    request["mounts"] = [
        DockerMount(target=target, source=source, type="bind", read_only=mode == "ro")
        for source, target, mode in _declared(service, folder)
        if shared or not _ours(source)
    ]
    return request


def _declared(service: compose.Service, folder: Path) -> list[tuple[str, str, str]]:
    return [bind for bind in compose.binds(service, folder) if not bind[1].startswith(_JOB)]


def _ours(source: str) -> bool:
    return REPOSITORY in Path(source).parents


def user_of(service: compose.Service) -> tuple[int, int]:
    """The declared uid and gid; names are refused because files must be given to numbers."""
    try:
        uid, gid = (service.user or "").split(":")
        return int(uid), int(gid)
    except ValueError:
        raise CascadeportError(
            f"The service of {service.image} must name its user as uid:gid.",
            where=f"user: {service.user}",
            next="For example: user: 1000:1000",
        ) from None


def _has_user_namespaces(client: docker.DockerClient) -> bool:
    options = client.info().get("SecurityOptions") or []
    return any("rootless" in option or "userns" in option for option in options)


def _watch(
    container: Any, task: Task, on_event: Callable[[Event], None]
) -> Mapping[str, Any] | None:
    """Starts a container and follows it to its end; returns the command's error event, if any."""
    # Attached before the start, so that no line is missed.
    stream = container.attach(stream=True, demux=True, stdout=True, stderr=True, logs=True)
    container.start()
    return follow(stream, task, on_event)


def _judge(
    container: Any, task: Task, service: compose.Service, failure: Mapping[str, Any] | None
) -> None:
    """Looks at how a container ended.

    Raises:
        CascadeportError: Its command failed.
    """
    code = int(container.wait(timeout=60)["StatusCode"])
    container.reload()
    state = container.attrs["State"]
    limit = service.mem_limit or "none"
    # The flag is also set when only a child was killed: the exit code says whether all is lost.
    out_of_memory = bool(state.get("OOMKilled"))
    if out_of_memory and code != 0:
        victim = "the container" if code == _KILLED else "a process in the container"
        raise CascadeportError(
            f"Stage {task.stage} ran out of memory: the kernel killed {victim}.",
            where=f"memory limit: {limit}; {tail(task)}",
            next="Give more, e.g. MEMORY=16g, or run fewer workers.",
        )
    if failure is not None:
        raise CascadeportError(
            str(failure.get("what", "The command failed.")),
            where=str(failure.get("where", "")),
            next=str(failure.get("next", "")),
        )
    if code == 0:
        return
    if code == _KILLED:
        raise CascadeportError(
            f"The container of stage {task.stage} was killed from outside.",
            where=tail(task),
            next="Somebody stopped it, or its engine was stopped. Run the same command again: "
            "finished stages are kept.",
        )
    if code > 128:
        what = f"was ended by signal {code - 128}"
    else:
        what = f"ended with exit code {code}"
    raise CascadeportError(
        f"The command of stage {task.stage} {what}.",
        where=f"the end of its log: {tail(task)}",
        next="Run again with --debug --keep-failed to keep the whole log.",
    )


def _keep(container: Any, on_event: Callable[[Event], None]) -> None:
    name = f"{sweep.KEPT}{container.name}"
    with contextlib.suppress(Exception):
        container.kill()
    with contextlib.suppress(Exception):
        container.rename(name)
        on_event(
            {
                "event": "note",
                "text": f"the container is kept: docker logs {name}; docker rm -fv {name}",
            }
        )
