"""A compose service as a job of Docker Swarm: what is said there has to be said here, or refused.

Swarm has no way to say some of what compose says. A task takes its network, and new privileges,
from itself (engines/confine.py) before it becomes its command; what is left of the list is returned
by `unsaid`, for whoever tells the user. Devices are generic resources: nodes say how many they
have, tasks how many they need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from docker import types
from docker.utils import parse_bytes

from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import compose
from cascadeport.config.compose import Service
from cascadeport.containers import sweep

NODE, SLOT = "CASCADEPORT_NODE", "CASCADEPORT_SLOT"
# A script that is sent, not a module that is used.
_CONFINE = REPOSITORY / "scripts" / "cascadeport" / "engines" / "confine.py"
_MOUNTED = ("/model", "/data", "/out")
_SHARED_MEMORY = "/dev/shm"


def label(target: str) -> str:
    """The label of nodes that have a target's devices."""
    return f"cascadeport.{target}"


def confined(argv: Sequence[str]) -> list[str]:
    """A command that takes from itself what Swarm cannot take from it, then becomes `argv`."""
    source = _CONFINE.read_text(encoding="utf-8")
    return ["python3", "-I", "-c", source, "--network-only", "--", *argv]


def resources(
    service: Service, target: str, environment: Mapping[str, str] | None
) -> dict[str, int]:
    """The generic resources that a task needs, by kind.

    Args:
        environment: By what the node's own container runtime hands devices out, where a compose
            file names their nodes; None: there is no such runtime.

    Raises:
        CascadeportError: The service needs what Swarm cannot give it.
    """
    reserved = service.deploy.resources.reservations
    found = {
        one.discrete_resource_spec.kind: one.discrete_resource_spec.value
        for one in reserved.generic_resources
    }
    if service.runtime is not None:
        raise CascadeportError(
            f"Swarm cannot choose a runtime, and the target needs {service.runtime}.",
            where=f"target {target}",
            next="Make it the default runtime of the nodes' engines (daemon.json), and leave "
            "`runtime` out of the compose file.",
        )
    if (service.devices or reserved.devices) and not found:
        raise CascadeportError(
            "Swarm hands out devices as generic resources only, and the target declares none.",
            where=f"target {target}: deploy.resources.reservations.generic_resources",
            next="Declare the kind and the number in the target's compose file.",
        )
    if service.devices and environment is None:
        raise CascadeportError(
            f"Swarm cannot map the device nodes of {target}, and no container runtime is known "
            "that would.",
            where=", ".join(compose.device_paths(service)),
            next="Use --engine docker, with a row per host in hosts.toml.",
        )
    return found


def unsaid(service: Service) -> list[str]:
    """What the compose file says and a task of Swarm cannot, a clause each."""
    found = []
    if service.memswap_limit is not None:
        found.append("no swap (memswap_limit)")
    found += [
        option
        for option in service.security_opt
        if not option.replace("=", ":").startswith("no-new-privileges")
    ]
    return found


def task_template(
    service: Service,
    *,
    image: str,
    argv: Sequence[str],
    environment: Mapping[str, str],
    mounts: Sequence[Any],
    user: tuple[int, int],
    run_id: str,
    needed: Mapping[str, int],
    constraints: Sequence[str],
) -> dict[str, Any]:
    """The task of a service of Swarm.

    Args:
        image: By its id, or by a registry's name and digest.
        argv: The command.
        environment: In addition to the compose file's.
        mounts: The task's own, as the docker SDK has them.
        user: The uid and gid.
        run_id: For labels.
        needed: Generic resources.
        constraints: On nodes. Without generic resources, a node has one task at a time.
    """
    own = {k: v for k, v in service.environment.items() if v is not None}
    env = {**own, **environment, NODE: "{{.Node.Hostname}}"}
    spec = types.ContainerSpec(
        image,
        command=confined(argv),
        env=[f"{key}={value}" for key, value in env.items()],
        workdir=service.working_dir,
        user=f"{user[0]}:{user[1]}",
        groups=service.group_add or None,
        labels=sweep.labels(run_id),
        mounts=[*mounts, *_tmpfs(service)],
        read_only=service.read_only,
        init=service.init,
        cap_drop=service.cap_drop or None,
        healthcheck=types.Healthcheck(test=["NONE"]) if service.healthcheck.disable else None,
        # What is under way has nothing to save: a shard that is stopped begins anew.
        stop_grace_period=2_000_000_000,
    )
    limits: dict[str, Any] = {}
    if service.mem_limit is not None:
        limits["MemoryBytes"] = parse_bytes(service.mem_limit)
    if service.pids_limit is not None:
        limits["Pids"] = service.pids_limit
    reserved = [
        {"DiscreteResourceSpec": {"Kind": kind, "Value": value}} for kind, value in needed.items()
    ]
    asked: Any = {"Limits": limits, "Reservations": {"GenericResources": reserved}}
    template: dict[str, Any] = types.TaskTemplate(
        spec,
        resources=asked,
        # A job's tasks are tried again whatever is said here; who watches them sets an end to it.
        restart_policy=types.RestartPolicy("on-failure", delay=1_000_000_000),
        placement=types.Placement(constraints=list(constraints), maxreplicas=None if needed else 1),
        log_driver=types.DriverConfig("json-file", {"max-size": "64m"}),
    )
    return template


def binds(service: Service, folder: Path) -> list[Any]:
    """The declared mounts that are not a job's own: files that every node has itself."""
    return [
        types.Mount(target=target, source=source, type="bind", read_only=mode == "ro")
        for source, target, mode in compose.binds(service, folder)
        if not target.startswith(_MOUNTED)
    ]


def _tmpfs(service: Service) -> list[Any]:
    entries = list(service.tmpfs)
    if service.shm_size is not None:
        entries.append(f"{_SHARED_MEMORY}:size={service.shm_size},mode=1777")
    found = []
    for entry in entries:
        path, _, text = entry.partition(":")
        options = dict(part.partition("=")[::2] for part in text.split(",") if part)
        size, mode = options.get("size"), options.get("mode")
        found.append(
            types.Mount(
                target=path,
                source=None,
                type="tmpfs",
                tmpfs_size=int(parse_bytes(size)) if size else None,
                tmpfs_mode=int(mode, 8) if mode else None,
            )
        )
    return found
