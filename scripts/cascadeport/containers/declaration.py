"""A compose service as the docker SDK takes it."""

from __future__ import annotations

from typing import Any

from cascadeport.config.compose import Service


def create_arguments(service: Service) -> dict[str, Any]:
    """A service as arguments of the docker SDK's `containers.create`, mounts left out."""
    from docker.types import DeviceRequest as Request

    arguments: dict[str, Any] = {
        "working_dir": service.working_dir,
        "user": service.user,
        "group_add": service.group_add or None,
        "read_only": service.read_only,
        "cap_drop": service.cap_drop or None,
        "security_opt": service.security_opt or None,
        "tmpfs": dict(_split(entry) for entry in service.tmpfs) or None,
        "init": service.init,
        "pids_limit": service.pids_limit,
        "mem_limit": service.mem_limit,
        "memswap_limit": service.memswap_limit,
        "shm_size": service.shm_size,
        "network_mode": service.network_mode,
        "runtime": service.runtime,
        "environment": {k: v for k, v in service.environment.items() if v is not None},
        "devices": [_with_rights(device) for device in service.devices] or None,
        "device_requests": [
            Request(
                **request.model_dump(exclude_none=True, exclude={"capabilities"}),
                capabilities=[request.capabilities],
            )
            for request in service.deploy.resources.reservations.devices
        ]
        or None,
    }
    if service.healthcheck.disable:
        arguments["healthcheck"] = {"test": ["NONE"]}
    return {key: value for key, value in arguments.items() if value is not None}


def _split(entry: str) -> tuple[str, str]:
    path, _, options = entry.partition(":")
    return path, options


def _with_rights(device: str) -> str:
    parts = device.split(":")
    if len(parts) == 1:
        parts.append(parts[0])
    if len(parts) == 2:
        parts.append("rwm")
    return ":".join(parts)
