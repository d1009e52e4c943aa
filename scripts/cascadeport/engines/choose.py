"""Finds the engine of a plan."""

from __future__ import annotations

from collections.abc import Mapping

from cascadeport.engines import Engine, local
from cascadeport.errors import CascadeportError
from cascadeport.options import Options
from cascadeport.targets import Target


def identity(engine: str, stage: str, target: Target, options: Options) -> Mapping[str, str]:
    """What is known of a stage's place before anything runs; it enters the stage's key.

    Raises:
        CascadeportError: The target does not run on this engine.
    """
    if engine == "docker":
        # The docker SDK is slow to import and not needed on a laptop without containers.
        from cascadeport.engines import docker

        return docker.identity(stage, target, options)
    if target.engine != "local":
        raise CascadeportError(
            f"Target {options.target} runs in a container only.",
            where="ENGINE=local",
            next="Leave ENGINE= out, or set ENGINE=docker.",
        )
    return {"engine": "local", **local.identity()}


def create(engine: str, name: str, target: Target, options: Options) -> Engine:
    """Makes the engine of a plan."""
    if engine == "docker":
        from cascadeport.engines.docker import DockerEngine

        return DockerEngine(name, target, options)
    return local.LocalEngine()
