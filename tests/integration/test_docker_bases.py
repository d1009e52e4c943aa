"""Bases pinned by digest, against a registry of our own."""

from __future__ import annotations

import contextlib
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.config import compose
from cascadeport.containers import bases, images

from tests.helpers import docker_fixtures
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.free_port import free_port

pytestmark = pytest.mark.docker

STAND_IN = "stand-in/busybox"
CONFIG = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with docker_fixtures.started() as engine:
        yield engine


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry's address. Engines need no TLS for registries of their own machine."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (apt-get install docker-registry)")
    folder, port = tmp_path_factory.mktemp("registry"), free_port()
    (folder / "config.yml").write_text(CONFIG.format(folder=folder / "data", port=port))
    server = subprocess.Popen([program, "serve", str(folder / "config.yml")])
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            break
        time.sleep(0.1)
    yield f"127.0.0.1:{port}"
    server.terminate()
    server.wait()


def publish(client: docker.DockerClient, image: str, note: str, folder: Path) -> None:
    """Makes an image, pushes it under a tag, and forgets it here."""
    folder.mkdir()
    text = f"FROM {STAND_IN}\nLABEL note={note}\n"
    (folder / "Dockerfile").write_text(text)
    client.images.build(path=str(folder), tag=image, forcerm=True)
    client.images.push(image)
    client.images.remove(image)


def test_a_tag_that_moves_changes_nothing_until_it_is_pinned_again(
    engine: PrivateEngine, registry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = f"{registry}/base:1"
    lock = tmp_path / "bases.lock"
    monkeypatch.setattr(bases.read, "__defaults__", (lock,))
    (tmp_path / "Dockerfile").write_text(f"ARG BASE_IMAGE={image}\nFROM ${{BASE_IMAGE}}\n")
    build = compose.Build(context=".", dockerfile="Dockerfile", args={"BASE_IMAGE": None})

    def made() -> tuple[str, str]:
        """The recipe's digest, and the note of the base that the built image has."""
        recipe = images.recipe("pinned/base", build, tmp_path, {})
        address = ["--host", engine.host]
        built = images.build(recipe, address, {}, tmp_path / "log", lambda event: None)
        return recipe.digest, client.images.get(built).labels["note"]

    with contextlib.closing(docker.DockerClient(base_url=engine.host)) as client:
        publish(client, image, "first", tmp_path / "first")
        assert bases.read() == {}
        bases.write([image], client, lock)
        (digest,) = bases.read().values()
        assert lock.read_text() == f"{image} {digest}\n"
        before = made()
        assert before[1] == "first"

        publish(client, image, "second", tmp_path / "second")
        assert made() == before
        bases.write([image], client, lock)
        assert bases.read()[image] != digest
        after = made()
        assert after[1] == "second"
        assert after[0] != before[0]


def test_what_cannot_be_resolved_leaves_the_lock_as_it_was(
    engine: PrivateEngine, registry: str, tmp_path: Path
) -> None:
    lock = tmp_path / "bases.lock"
    lock.write_text("as it was")
    with contextlib.closing(docker.DockerClient(base_url=engine.host)) as client:
        with pytest.raises(CascadeportError, match="cannot be resolved") as caught:
            bases.write([f"{registry}/nobody:1"], client, lock)
    assert "BASE_IMAGE" in caught.value.next
    assert lock.read_text() == "as it was"


def test_an_image_is_built_for_a_platform_and_runs_on_it(
    engine: PrivateEngine, tmp_path: Path
) -> None:
    """For the engine's own and for another, whose programs the engine's host cannot run."""
    own = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[platform.machine()]
    other = {"linux/amd64": "linux/arm64", "linux/arm64": "linux/amd64"}[own]
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    client = docker.DockerClient(base_url=engine.host)
    for wanted in (own, other):
        made = images.Recipe(f"for/{wanted}", tmp_path, "Dockerfile", None, {}, platform=wanted)
        built = images.build(
            made, ["--host", engine.host], {}, tmp_path / "log", lambda event: None
        )
        assert client.images.get(built).attrs["Architecture"] == wanted.split("/")[1]
        # As container.run asks for it.
        made_of = client.containers.create(built, ["/x"], platform=wanted)
        made_of.remove()
    client.close()
