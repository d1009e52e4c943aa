"""Finds the engine of a plan."""

from __future__ import annotations

from collections.abc import Mapping

from cascadeport.engines import Engine, local
from cascadeport.errors import CascadeportError
from cascadeport.targets import Target


def identity(engine: str, name: str, target: Target) -> Mapping[str, str]:
    """What is known of the place before anything runs; it enters the keys of stages run there."""
    if engine == "local":
        if target.engine != "local":
            raise CascadeportError(
                f"Target {name} runs in a container only.",
                next="Leave ENGINE= out, or set ENGINE=docker.",
            )
        return {"engine": "local", **local.identity()}
    raise CascadeportError(
        f"Target {name} runs in a container, and the Docker engine is not built yet.",
        next="Use TARGET=cpu, which runs on this machine.",
    )


def create(engine: str) -> Engine:
    """Makes the engine of a plan."""
    assert engine == "local"
    return local.LocalEngine()
