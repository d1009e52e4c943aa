"""What the tests on a real Docker Engine share."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cascadeport import backends
from cascadeport.backends.onnxruntime.backend import OnnxRuntimeTarget
from cascadeport.config import hosts
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.containers.engine import DockerEngine
from cascadeport.core.task import Event, Mount, Task

from tests.helpers import docker_engine
from tests.helpers.docker_engine import PrivateEngine

# A service that may touch as little as a target's does.
COMPOSE = """\
services:
  infer:
    image: cascadeport/probe
    build:
      context: {context}
      dockerfile: Dockerfile
      args:
        BASE_IMAGE:
    user: "1000:1000"
    read_only: true
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    network_mode: none
    init: true
    mem_limit: ${{MEMORY:-256m}}
    memswap_limit: ${{MEMORY:-256m}}
    tmpfs: ["/tmp:size=16m,mode=1777"]
{more}
"""
DOCKERFILE = """\
ARG BASE_IMAGE=stand-in/busybox
FROM ${BASE_IMAGE}
RUN mkdir /out && chown 1000:1000 /out
USER 1000:1000
"""


def target(compose: Path) -> OnnxRuntimeTarget:
    """A target whose containers obey a compose file."""
    return OnnxRuntimeTarget(
        title="probe",
        backend="onnxruntime",
        engine="docker",
        image="probe",
        compose=str(compose),
        model="demo",
        data="demo",
        provider="CPUExecutionProvider",
    )


class Probe:
    """A small target on a private engine.

    Args:
        engine: The engine.
        folder: For its Dockerfile, compose file, logs and results.

    Attributes:
        row: The target's row; a test may put another backend's in its place.
    """

    def __init__(self, engine: PrivateEngine, folder: Path) -> None:
        self.engine = engine
        self.folder = folder
        self.events: list[Event] = []
        self.out = folder / "out"
        self.out.mkdir()
        self.row: Target = target(folder / "probe.yaml")
        (folder / "Dockerfile").write_text(DOCKERFILE)
        self.declare()

    def declare(self, more: str = "") -> None:
        """Writes the compose file; `more` are further keys of the service."""
        text = COMPOSE.format(context=self.folder, more=more)
        (self.folder / "probe.yaml").write_text(text)

    def open(self, **options: Any) -> DockerEngine:
        """The docker engine of the orchestrator, for this target."""
        environ = dict(os.environ)
        return DockerEngine(
            "probe",
            self.row,
            backends.of(self.row),
            Options(build=self.folder / "build", **options),
            hosts.find("probe", {}, environ),
            environ,
        )

    def task(self, script: str, deadline_s: float | None = None, **env: str) -> Task:
        """A task that runs a shell script with /out to write to."""
        return Task(
            stage="infer",
            argv=("sh", "-c", script),
            mounts=(Mount(self.out, "/out", writable=True),),
            log=self.folder / "infer.log",
            env=env,
            deadline_s=deadline_s,
        )

    def run(self, script: str, deadline_s: float | None = None, **options: Any) -> None:
        """Runs a shell script as a stage would run its command."""
        with contextlib.closing(self.open(**options)) as opened:
            opened.run(self.task(script, deadline_s), self.events.append)

    @property
    def client(self) -> Any:
        """A client of the engine, to look at what is there."""
        import docker

        return docker.DockerClient(base_url=self.engine.host)

    def left(self) -> list[str]:
        """Containers and volumes on the engine."""
        with contextlib.closing(self.client) as client:
            return [c.name for c in client.containers.list(all=True)] + [
                v.name for v in client.volumes.list()
            ]


def busybox(engine: PrivateEngine) -> None:
    """Puts the smallest base into an engine: a static busybox."""
    docker = shutil.which("docker") or "docker"
    folder = engine.folder / "busybox"
    (folder / "bin").mkdir(parents=True)
    (folder / "tmp").mkdir()
    (folder / "tmp").chmod(0o1777)
    shutil.copy(shutil.which("busybox") or "", folder / "bin" / "busybox")
    for name in (
        "sh",
        "sleep",
        "cat",
        "echo",
        "mkdir",
        "chown",
        "id",
        "touch",
        "true",
        "head",
        "tail",
        "ls",
        "kill",
        "dd",
        "stat",
        "env",
        "false",
    ):
        (folder / "bin" / name).symlink_to("/bin/busybox")
    tar = engine.folder / "busybox.tar"
    subprocess.run(
        ["tar", "-C", str(folder), "--owner=0", "--group=0", "-cf", str(tar), "."], check=True
    )
    subprocess.run(
        [docker, "--host", engine.host, "import", str(tar), "stand-in/busybox"],
        check=True,
        capture_output=True,
    )


def require() -> None:
    """Skips the test, and says why, where no engine can be started."""
    reason = docker_engine.missing()
    if not reason and shutil.which("busybox") is None:
        reason = "busybox is not installed (apt-get install busybox-static)"
    if reason:
        pytest.skip(reason)


@contextlib.contextmanager
def started(**more: Any) -> Iterator[PrivateEngine]:
    """An engine with the smallest base in it, or a skip that says why there is none."""
    require()
    with docker_engine.private_engine(**more) as engine:
        busybox(engine)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", engine.host)
            # The engine has no bridge: a build step that needs no network gets none.
            patch.setenv("BUILD_NETWORK", "none")
            yield engine
