"""A stage: one step of a plan, and the file that one stage hands to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascadeport.base import digest
from cascadeport.core import store
from cascadeport.core.context import Context

NOT_MADE = "not made yet"


@dataclass(frozen=True)
class Content:
    """An input by content that is known only at run time: a file that an earlier stage makes.

    A stage that took the earlier stage's key instead would not notice that the same inputs gave
    another product: a network need not be deterministic.

    Args:
        path: The file, which exists once the stage that makes it is done.
    """

    path: Path

    @property
    def digest(self) -> str:
        """The sha256 of the file's content; `NOT_MADE` while it cannot be read."""
        try:
            return digest.of_unchanged_file(self.path)
        except OSError:
            return NOT_MADE


@dataclass(frozen=True)
class Stage:
    """One step: what it makes, from what, and under which key.

    Args:
        name: `fetch`, `export`, `lower`, `convert`, `infer` or `evaluate`.
        title: What it does, for people.
        folder: Where its product is kept.
        parameters: Everything besides its inputs that its product depends on (JSON).
        inputs: What it reads: digests of files that exist when the plan is made, and `Content`
            where an earlier stage makes the file.
        work: Does it: `work(context, folder)` fills a temporary folder.
        hashed: Whether its record has the digest of every file, however large its product is.
    """

    name: str
    title: str
    folder: Path
    parameters: Mapping[str, Any]
    inputs: Mapping[str, str | Content]
    work: Callable[[Context, Path], None] = field(compare=False, repr=False)
    hashed: bool = False

    @property
    def digests(self) -> dict[str, str]:
        """The digests of its inputs as they are now."""
        return {
            name: value.digest if isinstance(value, Content) else value
            for name, value in self.inputs.items()
        }

    @property
    def key(self) -> str:
        """The digest of the stage's name, parameters and inputs as they are now."""
        return key_of(self.name, self.parameters, self.digests)

    @property
    def identity(self) -> str:
        """A short form of the key, for names of what the stage keeps beside its folder."""
        return self.key[:16]

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
            "inputs": self.digests,
        }

    def awaits(self, earlier: Stage) -> bool:
        """Whether it reads a file that another stage makes."""
        return any(
            isinstance(value, Content) and earlier.folder in value.path.parents
            for value in self.inputs.values()
        )


def key_of(name: str, parameters: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
    """The key of a stage, from what its record says of it."""
    return digest.of_value(
        {"stage": name, "format": store.FORMAT, "parameters": parameters, "inputs": inputs}
    )


@dataclass(frozen=True)
class Network:
    """A network that a target runs.

    Args:
        shape: Its input's rows and columns; None: it takes every shape.
        path: The file, which exists once the stages that make it are done.
        digest: The digest of its content.
    """

    path: Path
    digest: str | Content
    shape: tuple[int, int] | None = None
