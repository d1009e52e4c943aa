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
from pydantic import BeforeValidator, Field, field_validator

from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import read_bytes, user_path
from cascadeport.base.suggest import suggest
from cascadeport.base.text import printable
from cascadeport.config.schema import LIMIT, Strict, validate


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


class DiscreteResource(Strict):
    """How many of a kind; see `GenericResource`."""

    kind: str
    value: int = Field(ge=1)


class GenericResource(Strict):
    """What a task of Docker Swarm needs of a node, by the name that the node gives it."""

    discrete_resource_spec: DiscreteResource


class Reservations(Strict):
    """See `DeviceRequest`. `generic_resources` are for Docker Swarm alone."""

    devices: list[DeviceRequest] = Field(default_factory=list)
    generic_resources: list[GenericResource] = Field(default_factory=list)


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
    if not isinstance(value, dict):
        return value
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

    @field_validator("user")
    @classmethod
    def _not_root(cls, value: str | None) -> str | None:
        name = (value or "").split(":")[0].strip()
        if name == "root" or re.fullmatch(r"[+-]?0+", name):
            raise ValueError(
                "containers never run as root; give CASCADEPORT_USER the uid:gid of a user"
            )
        return value

    @field_validator("volumes")
    @classmethod
    def _binds(cls, value: list[str]) -> list[str]:
        for volume in value:
            parts = volume.split(":")
            if len(parts) not in (2, 3) or not all(parts) or parts[2:] not in ([], ["ro"], ["rw"]):
                raise ValueError(f"'{volume}' is not source:target, source:target:ro or :rw")
        return value


class _File(Strict):
    services: dict[str, Service]


def load(path: Path, variables: Mapping[str, str]) -> dict[str, Service]:
    """Reads the services of a compose file.

    Args:
        path: The file. Relative paths in it start from its folder.
        variables: What `${NAME}` stands for.

    Raises:
        CascadeportError: The file is missing, not YAML, asks for a variable that is not set, has
            keys that are not known here, or would run as root; or a variable is no plain path
            where the file asks for one.
    """
    services = {}
    for name, service in _read(path).items():
        services[name] = _fill(_extended(service, path), variables, path)
    # A base that others extend (another file's, mostly) is no service of its own.
    values = {"services": {k: v for k, v in services.items() if "image" in v}}
    return validate(_File, values, where=str(path), what="compose file").services


def declared(path: Path, name: str) -> dict[str, Any]:
    """A service as the file writes it: what it extends put under it, and variables left alone.

    Raises:
        CascadeportError: The file is missing, is not YAML, or has no such service.
    """
    services = _read(path)
    if name not in services:
        raise CascadeportError(
            f"There is no service {name}.", where=str(path), next=f"{suggest(name, services)}."
        )
    return _extended(services[name], path)


def _read(path: Path) -> dict[str, Any]:
    content = read_bytes(path, "compose file", limit=LIMIT)
    try:
        values = yaml.safe_load(content.decode("utf-8"))
    except RecursionError as error:
        raise CascadeportError(
            "The compose file is nested too deeply.", where=str(path), next="Check the file."
        ) from error
    except (yaml.YAMLError, ValueError) as error:
        raise CascadeportError(
            f"The compose file is not valid YAML: {' '.join(str(error).split())}.",
            where=str(path),
            next="Fix that line.",
        ) from error
    if not isinstance(values, dict):
        values = {}
    unknown = ", ".join(sorted(str(key) for key in set(values) - {"name", "services"}))
    if not isinstance(values.get("services"), dict) or unknown:
        raise CascadeportError(
            "The compose file must have services, and nothing else is known here.",
            where=f"{path}: {unknown}" if unknown else str(path),
            next="Declare every service below `services:`.",
        )
    for name, service in values["services"].items():
        if not isinstance(name, str) or not isinstance(service, dict):
            raise CascadeportError(
                "A service of the compose file is not a mapping.",
                where=f"{path}: services.{name}",
                next="Write its keys below its name.",
            )
    found: dict[str, Any] = values["services"]
    return found


def _extended(
    service: dict[str, Any], path: Path, seen: tuple[tuple[Path, str], ...] = ()
) -> dict[str, Any]:
    """Puts what a service extends under it, as compose does."""
    own = dict(service)
    extends = own.pop("extends", None)
    if extends is None:
        return own
    if isinstance(extends, str):
        extends = {"service": extends}
    base = extends.get("service") if isinstance(extends, dict) else None
    if not isinstance(base, str) or not isinstance(extends.get("file", ""), str):
        raise CascadeportError(
            "`extends` must name a service, and may name a file.",
            where=str(path),
            next="For example: extends: {file: ascend.yaml, service: runner}",
        )
    file = path.parent / extends.get("file", path.name)
    services = _read(file)
    if base not in services:
        raise CascadeportError(
            f"There is no service {base} to extend.",
            where=f"{path}: {file.name}",
            next=f"{suggest(base, services)}.",
        )
    if (file, base) in seen:
        raise CascadeportError(
            f"Service {base} extends itself.", where=f"{path}: {file.name}", next="Break the cycle."
        )
    below = _extended(services[base], file, (*seen, (file, base)))
    merged: dict[str, Any] = _merge(below, own)
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


def _fill(value: Any, variables: Mapping[str, str], path: Path, key: str = "") -> Any:
    """Substitutes variables as compose does: `${A}`, `${A:-default}`, `${A:?reason}`, `$$`.

    Args:
        value: A part of the file.
        variables: What the names stand for.
        path: The file, for errors.
        key: The nearest key above the value. In volumes and devices a variable is a path, and
            stays one: it cannot add a mount or change the mode of one.
    """
    if isinstance(value, dict):
        return {name: _fill(item, variables, path, str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, variables, path, key) for item in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        dollar, short, name, operator, argument = match.groups()
        if dollar:
            return "$"
        name = short or name
        found = variables.get(name)
        if found is None or (not found and operator in (":-", ":?")):
            if operator in (":?", "?"):
                raise CascadeportError(
                    f"{name} is not set: {argument}.", where=str(path), next=f"Set {name}=."
                )
            return argument or "" if operator else found or ""
        if key in _PATHS:
            _check_path(name, found, path)
        return found

    return _VARIABLE.sub(put, value)


_PATHS = ("volumes", "devices")


def _check_path(name: str, value: str, path: Path) -> None:
    reason = ""
    if ":" in value:
        reason = "has a colon in it, which would add a mount or change its mode"
    elif ".." in Path(value).parts:
        reason = "must not contain `..`"
    elif printable(value) != value:
        reason = "has control characters in it"
    if reason:
        raise CascadeportError(
            f"The variable {name} {reason}.",
            where=f"{name}={value} in {path.name}",
            next=f"Set {name} to the absolute path of a file or folder, or unset it.",
        )


def binds(service: Service, folder: Path) -> list[tuple[str, str, str]]:
    """The declared mounts as (source, target, "ro" or "rw"); sources are absolute."""
    found = []
    for volume in service.volumes:
        source, target, *mode = volume.split(":")
        if source.startswith(("./", "../", "~")):
            source = str((folder / user_path(source, "mount")).resolve())
        found.append((source, target, mode[0] if mode else "rw"))
    return found


def device_paths(service: Service) -> list[str]:
    """The device nodes of the host that a service needs."""
    return [device.split(":")[0] for device in service.devices]
