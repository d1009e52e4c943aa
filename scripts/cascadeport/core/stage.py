"""A stage: one step of a plan, and the file that one stage hands to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascadeport.base import digest
from cascadeport.core import store
from cascadeport.core.context import Context


@dataclass(frozen=True)
class Stage:
    """One step: what it makes, from what, and under which key.

    Args:
        name: `fetch`, `export`, `lower`, `convert`, `infer` or `evaluate`.
        title: What it does, for people.
        folder: Where its product is kept.
        parameters: Everything besides its inputs that its product depends on (JSON).
        inputs: Digests of what it reads: files by content, other stages by their keys.
        work: Does it: `work(context, folder)` fills a temporary folder.
    """

    name: str
    title: str
    folder: Path
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str]
    work: Callable[[Context, Path], None] = field(compare=False, repr=False)

    @property
    def key(self) -> str:
        """The digest of the stage's name, parameters and inputs."""
        return digest.of_value(
            {
                "stage": self.name,
                "format": store.FORMAT,
                "parameters": self.parameters,
                "inputs": self.inputs,
            }
        )

    @property
    def freshness(self) -> store.Freshness:
        """Whether its product can be used as it is."""
        return store.freshness(self.folder, self.key)

    def facts(self) -> dict[str, Any]:
        """What the stage's record says beside its key."""
        return {
            "stage": self.name,
            "title": self.title,
            "parameters": dict(self.parameters),
            "inputs": dict(self.inputs),
        }


@dataclass(frozen=True)
class Network:
    """The network that a target runs, for one input shape.

    Args:
        path: The file, which exists once the stages that make it are done.
        digest: The digest of its content, or the key of the stage that makes it.
    """

    path: Path
    digest: str
