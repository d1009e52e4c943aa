"""How a container of a frozen image is run: the target's own declaration, without the job's mounts.

A variable of the declaration (`${DAVINCI0:-/dev/davinci0}`) is left as it is where a person will
run it: compose and the shell understand the same notation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import COMPOSE, REPOSITORY
from cascadeport.config import compose
from cascadeport.core.context import Context

PORT = 8000
"""What `serve` listens on in the container."""
_STAGE = "infer"
_JOB = ("/model", "/data", "/out")
# What compose writes into the service as it is.
_KEPT = (
    *("user", "group_add", "init", "pids_limit", "mem_limit", "memswap_limit", "shm_size"),
    *("tmpfs", "runtime", "devices", "deploy"),
)
_SHELL_SAFE = re.compile(r"[\w\s${}:/.,=\[\]+@%-]*")


@dataclass(frozen=True)
class Runtime:
    """How its containers are run.

    Args:
        declared: The service, in compose's notation.
        environment: What goes into the image's environment.
        baked: Files of this checkout that the declaration mounts (a simulator's driver): they go
            into the image, by their path there.
    """

    declared: Mapping[str, Any]
    environment: Mapping[str, str]
    baked: Mapping[str, Path]

    @property
    def service(self) -> dict[str, Any]:
        """What every service of the operator's compose file has."""
        return {
            **{key: self.declared[key] for key in _KEPT if self.declared.get(key)},
            "read_only": True,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges:true"],
            **({"volumes": list(self.volumes)} if self.volumes else {}),
        }

    @property
    def volumes(self) -> Sequence[str]:
        """Mounts of the host's own files, such as a driver."""
        return tuple(self.declared.get("volumes", ()))

    @property
    def options(self) -> list[str]:
        """The same as options of `docker run` and `podman run`: words in double quotes for sh.

        Raises:
            CascadeportError: One of them would need more quoting than that.
        """
        service = self.declared
        words = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
        words += ["--user", str(service.get("user", "1000:1000"))]
        for key, option in (
            *(("tmpfs", "--tmpfs"), ("group_add", "--group-add"), ("devices", "--device")),
            ("volumes", "--volume"),
        ):
            for value in service.get(key, ()):
                words += [option, str(value)]
        for key, option in (
            *(("pids_limit", "--pids-limit"), ("shm_size", "--shm-size")),
            ("runtime", "--runtime"),
        ):
            if service.get(key):
                words += [option, str(service[key])]
        for request in _requests(service):
            words += ["--gpus", f"device={','.join(request.get('device_ids', ['all']))}"]
        for word in words:
            if not _SHELL_SAFE.fullmatch(word):
                raise CascadeportError(
                    "A value of the compose file cannot be written into a shell script.",
                    where=word[:80],
                    next="Declare it without quotes and special characters.",
                )
        return [f'"{word}"' if "$" in word else word for word in words]


def of(context: Context, variables: Mapping[str, str] | None = None) -> Runtime:
    """The runtime of a context's target.

    Args:
        variables: What the declaration's variables are filled with; None: they are left to whoever
            runs it, where that is a person with a shell or with compose.
    """
    path = COMPOSE / context.target.compose
    options = context.options
    given = dict(variables or {})
    if options.simulate:
        given |= backends.of(context.target).variables(options, {}, None)
    filled = compose.load(path, given)[_STAGE]
    declared = compose.declared(path, _STAGE)
    if options.simulate or variables is not None:
        # Of a stand-in nothing is the operator's to set.
        declared = filled.model_dump(exclude_defaults=True, exclude_none=True)
    volumes, baked = [], {}
    for written, (source, target, _) in zip(
        declared.get("volumes", ()), compose.binds(filled, path.parent), strict=True
    ):
        if target.startswith(_JOB):
            continue
        if REPOSITORY in Path(source).parents:
            baked.update(_files(Path(source), target))
        else:
            volumes.append(written)
    environment = {key: value for key, value in filled.environment.items() if value is not None}
    return Runtime({**declared, "volumes": volumes}, environment, baked)


def _files(source: Path, target: str) -> dict[str, Path]:
    return {
        f"{target.strip('/')}/{path.relative_to(source).as_posix()}": path
        for path in sorted(source.rglob("*"))
        if path.is_file()
    }


def _requests(service: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Any = service
    for key in ("deploy", "resources", "reservations", "devices"):
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, list) else []
