"""Reads a compose file: the one declaration of a target's devices, mounts, limits and environment.

Only the keys that a target needs are known; any other is an error, so that nothing is declared for
`docker compose` and then not obeyed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field

from cascadeport.base.errors import CascadeportError
from cascadeport.config.schema import Strict, validate


class Build(Strict):
    """How a service's image is built. An argument without a value comes from the environment."""

    context: str
    dockerfile: str = "Dockerfile"
    target: str | None = None
    args: dict[str, str | None] = Field(default_factory=dict)


class DeviceRequest(Strict):
    """Devices that a runtime hands in, e.g. GPUs."""

    driver: str | None = None
    count: int | None = None
    device_ids: list[str] | None = None
    capabilities: list[str]


class Reservations(Strict):
    """See `DeviceRequest`."""

    devices: list[DeviceRequest] = Field(default_factory=list)


class Resources(Strict):
    """See `DeviceRequest`."""

    reservations: Reservations = Reservations()


class Deploy(Strict):
    """See `DeviceRequest`."""

    resources: Resources = Resources()


class Healthcheck(Strict):
    """A job has none: a check beside it would disturb what is measured."""

    disable: bool = False


def _as_text(value: Any) -> Any:
    return {
        key: str(item) if isinstance(item, (int, float)) and not isinstance(item, bool) else item
        for key, item in value.items()
    }


class Service(Strict):
    """One service. Sizes are texts as compose writes them, e.g. "8g"."""

    image: str
    build: Build | None = None
    command: list[str] = Field(default_factory=list)
    working_dir: str | None = None
    user: str | None = None
    group_add: list[str] = Field(default_factory=list)
    read_only: bool = False
    cap_drop: list[str] = Field(default_factory=list)
    security_opt: list[str] = Field(default_factory=list)
    tmpfs: list[str] = Field(default_factory=list)
    init: bool | None = None
    pids_limit: int | None = None
    mem_limit: str | None = None
    memswap_limit: str | None = None
    shm_size: str | None = None
    network_mode: str | None = None
    runtime: str | None = None
    environment: Annotated[dict[str, str | None], BeforeValidator(_as_text)] = Field(
        default_factory=dict
    )
    devices: list[str] = Field(default_factory=list)
    volumes: list[str] = Field(default_factory=list)
    healthcheck: Healthcheck = Healthcheck()
    deploy: Deploy = Deploy()


class _File(Strict):
    services: dict[str, Service]


def load(path: Path, variables: Mapping[str, str]) -> dict[str, Service]:
    """Reads the services of a compose file.

    Args:
        path: The file. Relative paths in it start from its folder.
        variables: What `${NAME}` stands for.

    Raises:
        CascadeportError: The file is missing, no YAML, asks for a variable that is not set, or has
            keys that are not known here.
    """
    services = {}
    for name, service in _read(path).items():
        services[name] = _fill(_extended(service, path), variables, path)
    # A base that others extend (another file's, mostly) is no service of its own.
    values = {"services": {k: v for k, v in services.items() if "image" in v}}
    return validate(_File, values, where=str(path), what="compose file").services


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CascadeportError("The compose file does not exist.", where=str(path)) from error
    except yaml.YAMLError as error:
        raise CascadeportError(
            f"The compose file is not valid YAML: {' '.join(str(error).split())}.", where=str(path)
        ) from error
    unknown = set(values or {}) - {"name", "services"}
    if not isinstance(values, dict) or not isinstance(values.get("services"), dict) or unknown:
        raise CascadeportError(
            "The compose file must have services, and nothing else is known here.",
            where=f"{path}: {', '.join(sorted(unknown))}" if unknown else str(path),
        )
    found: dict[str, Any] = values["services"]
    return found


def _extended(service: dict[str, Any], path: Path) -> dict[str, Any]:
    """Puts what a service extends under it, as compose does."""
    own = dict(service)
    extends = own.pop("extends", None)
    if extends is None:
        return own
    if isinstance(extends, str):
        extends = {"service": extends}
    file = path.parent / extends.get("file", path.name)
    services = _read(file)
    if extends["service"] not in services:
        raise CascadeportError(
            f"There is no service {extends['service']} to extend.", where=f"{path}: {file.name}"
        )
    merged: dict[str, Any] = _merge(_extended(services[extends["service"]], file), own)
    return merged


def _merge(below: Any, above: Any, key: str = "") -> Any:
    """Mappings are joined, lists follow each other; a command is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        joined = {**below, **above}
        return {
            name: _merge(below[name], above[name], name)
            if name in below and name in above
            else value
            for name, value in joined.items()
        }
    if isinstance(below, list) and isinstance(above, list) and key != "command":
        return [*below, *(item for item in above if item not in below)]
    return above


_VARIABLE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-?])([^}]*))?\})")


def _fill(value: Any, variables: Mapping[str, str], path: Path) -> Any:
    """Puts variables in place as compose does: `${A}`, `${A:-default}`, `${A:?reason}`, `$$`."""
    if isinstance(value, dict):
        return {key: _fill(item, variables, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables, path) for item in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        dollar, short, name, operator, argument = match.groups()
        if dollar:
            return "$"
        found = variables.get(short or name)
        if found is None or (not found and operator in (":-", ":?")):
            if operator in (":?", "?"):
                raise CascadeportError(
                    f"{name} is not set: {argument}.", where=str(path), next=f"Set {name}=."
                )
            return argument or "" if operator else found or ""
        return found

    return _VARIABLE.sub(put, value)


def binds(service: Service, folder: Path) -> list[tuple[str, str, str]]:
    """The declared mounts as (source, target, "ro" or "rw"); sources are absolute."""
    found = []
    for volume in service.volumes:
        source, target, *mode = volume.split(":")
        if source.startswith(("./", "../", "~")):
            source = str((folder / Path(source).expanduser()).resolve())
        found.append((source, target, mode[0] if mode else "rw"))
    return found


def device_paths(service: Service) -> list[str]:
    """The device nodes of the host that a service needs."""
    return [device.split(":")[0] for device in service.devices]
