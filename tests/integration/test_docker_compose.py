"""The orchestrator and docker compose read the same declaration the same way."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import compose
from cascadeport.containers import declaration, images

from tests.helpers import docker_compose

pytestmark = pytest.mark.docker

FOLDER = REPOSITORY / "compose"
FILES = ["cpu.yaml", "t4.yaml", "ascend310.yaml", "ascend310p.yaml"]
# One time with defaults, one time with what a user may set.
SETTINGS = {
    "defaults": {},
    "set": {
        "MEMORY": "3g",
        "CONVERT_MEMORY": "20g",
        "CASCADEPORT_USER": "1234:1235",
        "ASCEND_GID": "1999",
        "DAVINCI0": "/dev/zero",
        "GPU": "2",
        "MODEL": "/somewhere/model",
        "DATA": "/somewhere/pictures",
        "OUT": "/somewhere/out",
        "BASE_IMAGE": "mirror/base:1",
    },
}
UNITS = {"m": 1 << 20, "g": 1 << 30}


@pytest.fixture(scope="module")
def command(repository: Path) -> list[str]:
    found = docker_compose.find(repository / "build" / "tools" / "docker-compose")
    if found is None:
        pytest.skip(
            "there is no docker compose of version 2; CASCADEPORT_DOWNLOAD_TOOLS=1 downloads one"
        )
    return found


def told(command: list[str], file: str, settings: dict[str, str]) -> dict[str, Any]:
    """What docker compose makes of a file."""
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **settings}
    done = subprocess.run(
        [*command, "--file", str(FOLDER / file), "config", "--format", "json"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def size(text: str | None) -> int:
    return int(text[:-1]) * UNITS[text[-1]] if text else 0


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("file", FILES)
def test_both_read_the_same(command: list[str], file: str, settings: dict[str, str]) -> None:
    theirs = told(command, file, settings)
    ours = compose.load(FOLDER / file, settings)
    assert set(ours) == set(theirs)
    for name, service in ours.items():
        other = theirs[name]
        assert other["image"] == service.image
        assert other["user"] == service.user
        assert other.get("working_dir") == service.working_dir
        assert other["read_only"] is service.read_only
        assert other["cap_drop"] == service.cap_drop
        assert other["security_opt"] == service.security_opt
        assert other["network_mode"] == service.network_mode
        assert other["init"] is service.init
        assert other["pids_limit"] == service.pids_limit
        assert int(other["mem_limit"]) == size(service.mem_limit)
        assert int(other["memswap_limit"]) == size(service.memswap_limit)
        assert other["tmpfs"] == service.tmpfs
        assert other.get("group_add", []) == service.group_add
        assert other.get("environment", {}) == service.environment
        assert other["command"] == service.command
        assert other["healthcheck"] == {"disable": True}
        volumes = [
            (one["source"], one["target"], "ro" if one.get("read_only") else "rw")
            for one in other["volumes"]
        ]
        assert sorted(volumes) == sorted(compose.binds(service, FOLDER))
        devices = [one.split(":")[:2] for one in map(device_text, other.get("devices", []))]
        assert sorted(devices) == sorted(one.split(":")[:2] for one in service.devices)
        requests = declaration.create_arguments(service).get("device_requests", [])
        reserved = other.get("deploy", {}).get("resources", {}).get("reservations", {})
        assert [
            (one["driver"], one["device_ids"], one["capabilities"])
            for one in reserved.get("devices", [])
        ] == [(one["Driver"], one["DeviceIDs"], one["Capabilities"][0]) for one in requests]
        check_build(service, other["build"], settings)


def device_text(device: Any) -> str:
    """A device as text; newer releases give its parts."""
    return device if isinstance(device, str) else f"{device['source']}:{device['target']}"


def check_build(service: compose.Service, theirs: Any, settings: dict[str, str]) -> None:
    assert service.build is not None
    recipe = images.recipe(service.image, service.build, FOLDER, settings)
    assert Path(theirs["context"]) == recipe.context
    assert theirs["dockerfile"] == recipe.dockerfile
    assert theirs.get("target") == recipe.target
    given = {key: value for key, value in theirs.get("args", {}).items() if value}
    assert given == recipe.arguments
