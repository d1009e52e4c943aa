"""Targets in their own images: bases are stand-ins made from this machine's interpreters, packages
come from a wheelhouse, so the builds have no network: as behind a wall."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest
from cascadeport.backends.ascend import releases
from cascadeport.base.paths import REPOSITORY
from cascadeport.containers import wheels

from tests.helpers import command, contexts, docker_engine, stand_in_base
from tests.helpers.docker_engine import PrivateEngine

_FETCHED: set[str] = set()


def environment(engine: PrivateEngine, target: str, cann: str | None = None) -> dict[str, str]:
    """What a user behind a wall sets; the base and the wheels are put in place first.

    Args:
        engine: Where images are built.
        target: The target.
        cann: The release of CANN, of an Ascend target.
    """
    image = contexts.context(target, engine="docker").target.image
    if cann is not None:
        image = releases.find(cann).image(image)
    version = wheels.facts(image).python
    reason = docker_engine.missing() or stand_in_base.missing(version)
    if reason:
        pytest.skip(reason)
    tag = f"stand-in/python:{version}"
    tar = engine.folder / f"python-{version}.tar"
    if not tar.exists():
        stand_in_base.load("docker", engine.host, stand_in_base.build(version, tar), tag)
    for folder in wheels.folders(image):
        if folder not in _FETCHED:
            wheels.download(folder, wheels.FOLDER / folder, platform.machine())
            _FETCHED.add(folder)
    return {
        "DOCKER_HOST": engine.host,
        "BASE_IMAGE": tag,
        "WHEELS": wheels.FOLDER.relative_to(REPOSITORY).as_posix(),
        # The engine may not be the docker command's own.
        "PATH": os.environ["PATH"],
    }


def run_all(folder: Path, build: Path, *arguments: str, **env: str) -> dict[str, Any]:
    """`cascadeport all`; returns the result, and the detections in it."""
    done = command.run(build, folder, *arguments, **env)
    assert done.returncode in command.FINISHED, done.stdout + done.stderr
    (result,) = folder.glob("*/*/result.json")
    found: dict[str, Any] = json.loads(result.read_text())
    found["detections"] = json.loads((result.parent / "infer/detections.json").read_text())
    return found


def empty(engine: PrivateEngine) -> bool:
    """Whether nothing is left on the engine but images."""
    import docker

    client = docker.DockerClient(base_url=engine.host)
    left = client.containers.list(all=True) + client.volumes.list()
    client.close()
    return left == []
