"""A pod, as restricted as the target's compose file declares its container.

The compose file is the one declaration. What a pod says instead of each of its keys is here; what
a pod cannot say is listed in `BEYOND`, with who says it in a cluster. A key that is in neither is
an error: nothing is declared for containers and then not obeyed in a cluster.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cascadeport.base.errors import CascadeportError
from cascadeport.config.compose import Service
from cascadeport.manifests.subject import Subject

BEYOND = {
    "pids_limit": "the kubelet's podPidsLimit",
    "memswap_limit": "the kubelet: pods do not swap unless it allows them to",
    "network_mode": "the NetworkPolicy beside the pod",
}
"""What a compose file declares and no pod can: where a cluster has it."""
_SIZE = re.compile(r"(\d+)([kKmMgG]?)[bB]?")
_OF_THE_JOB = ("image", "build", "command", "healthcheck")
_HANDLED = (
    *("user", "group_add", "read_only", "cap_drop", "security_opt", "tmpfs", "init", "mem_limit"),
    *("shm_size", "runtime", "environment", "devices", "volumes", "deploy", "working_dir"),
)


@dataclass(frozen=True)
class Volume:
    """A volume and where it is mounted."""

    name: str
    path: str
    source: Mapping[str, Any]
    read_only: bool = False


def declared(subject: Subject) -> Service:
    """The declaration.

    Raises:
        CascadeportError: It has a key that nothing here answers, or one that contradicts a pod.
    """
    service = Service.model_validate({"image": subject.image, **subject.runtime.declared})
    unknown = set(subject.runtime.declared) - {*BEYOND, *_OF_THE_JOB, *_HANDLED, "image"}
    if unknown:
        raise _cannot(f"the key {sorted(unknown)[0]}")
    if service.memswap_limit not in (None, service.mem_limit):
        raise _cannot("a memswap_limit of its own: pods do not swap")
    if service.cap_drop != ["ALL"] or "no-new-privileges:true" not in service.security_opt:
        raise _cannot("capabilities, or privileges that can be gained")
    return service


def template(
    subject: Subject,
    component: str,
    arguments: Sequence[str],
    *,
    volumes: Sequence[Volume] = (),
    device: bool = True,
    container: Mapping[str, Any] | None = None,
    pod: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A pod template.

    Args:
        component: Which part of the deployment it is.
        arguments: What follows the image's entry point.
        volumes: The part's own volumes.
        device: Whether it works on a device.
        container: More of the container.
        pod: More of the pod.
    """
    service = declared(subject)
    mounted = [*_temporary(service), *volumes]
    metadata = subject.metadata(component)
    del metadata["name"]
    return {
        "metadata": metadata,
        "spec": {
            **(pod or {}),
            **({"runtimeClassName": service.runtime} if service.runtime and device else {}),
            # A process that its parent forgot is reaped, as `init` does in compose.
            **({"shareProcessNamespace": True} if service.init else {}),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": security(service),
            "containers": [
                {
                    "name": component,
                    "image": subject.image,
                    "imagePullPolicy": "Never" if subject.is_loaded else "IfNotPresent",
                    "args": list(arguments),
                    **({"workingDir": service.working_dir} if service.working_dir else {}),
                    **({"env": env} if (env := _environment(subject)) else {}),
                    **(container or {}),
                    "securityContext": container_security(service),
                    "resources": resources(subject, service, device=device),
                    "volumeMounts": [
                        {
                            "name": one.name,
                            "mountPath": one.path,
                            **({"readOnly": True} if one.read_only else {}),
                        }
                        for one in mounted
                    ],
                }
            ],
            "volumes": [{"name": one.name, **one.source} for one in mounted],
        },
    }


def security(service: Service) -> dict[str, Any]:
    """A pod's security context: who it is."""
    user, _, group = (service.user or "").partition(":")
    if not user.isdecimal() or not group.isdecimal():
        raise _cannot(f"the user '{service.user}': a cluster wants numbers")
    found: dict[str, Any] = {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "runAsGroup": int(group),
        # Whose volumes for results are to be.
        "fsGroup": int(group),
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if service.group_add:
        found["supplementalGroups"] = [int(one) for one in service.group_add]
    return found


def container_security(service: Service) -> dict[str, Any]:
    """A container's security context: what it may."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": service.read_only,
        "capabilities": {"drop": list(service.cap_drop)},
    }


def resources(subject: Subject, service: Service, *, device: bool = True) -> dict[str, Any]:
    """Memory and devices: requests are limits, so that no node promises what it has not."""
    found: dict[str, str] = {}
    if service.mem_limit:
        found["memory"] = quantity(service.mem_limit)
    if subject.plug_in is not None and device:
        found[subject.plug_in.resource] = str(subject.plug_in.count)
    return {"requests": dict(found), "limits": dict(found)}


def host_volumes(subject: Subject) -> list[Volume]:
    """What of the host's own files and nodes the declaration brings in and no plug-in does.

    No pod that is admitted as restricted may have them (Pod Security Standards).
    """
    service = declared(subject)
    brought = subject.plug_in.nodes if subject.plug_in else ()
    found = []
    for entry in service.devices:
        source, target = (entry.split(":") * 2)[:2]
        if source not in brought:
            found.append(_host(source, target, "CharDevice"))
    for entry in service.volumes:
        source, target, *mode = entry.split(":")
        found.append(_host(source, target, "Directory", read_only=mode == ["ro"]))
    return found


def is_restricted(subject: Subject) -> bool:
    """Whether its pods are admitted where the cluster enforces `restricted`."""
    brought = subject.plug_in.brings if subject.plug_in else ()
    return all(one.source["hostPath"]["path"] in brought for one in host_volumes(subject))


def quantity(size: str) -> str:
    """A size as compose writes it (`8g`, `256m`), in Kubernetes' notation: powers of 1024 both."""
    match = _SIZE.fullmatch(size)
    if match is None:
        raise _cannot(f"the size '{size}'")
    unit = match[2].lower()
    return match[1] + (f"{unit.upper()}i" if unit else "")


def _environment(subject: Subject) -> list[dict[str, Any]]:
    return [{"name": key, "value": value} for key, value in subject.runtime.environment.items()]


def _temporary(service: Service) -> list[Volume]:
    found = []
    for entry in service.tmpfs:
        path, _, options = entry.partition(":")
        given = dict(one.partition("=")[::2] for one in options.split(",") if one)
        source: dict[str, Any] = {"medium": "Memory"}
        if "size" in given:
            source["sizeLimit"] = quantity(given["size"])
        found.append(Volume(path.strip("/").replace("/", "-"), path, {"emptyDir": source}))
    if service.shm_size:
        source = {"medium": "Memory", "sizeLimit": quantity(service.shm_size)}
        found.append(Volume("shm", "/dev/shm", {"emptyDir": source}))
    return found


def _host(source: str, target: str, kind: str, *, read_only: bool = False) -> Volume:
    name = "host-" + target.strip("/").replace("/", "-").replace("_", "-").lower()
    return Volume(name, target, {"hostPath": {"path": source, "type": kind}}, read_only)


def _cannot(what: str) -> CascadeportError:
    return CascadeportError(
        f"The target's compose file declares {what}, which manifests cannot say.",
        next="Take it out of the declaration, or teach scripts/cascadeport/manifests/pod.py.",
    )
