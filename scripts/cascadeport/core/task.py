"""A task: one command of one stage; and what an engine, which runs it, must do.

Plan and stages do not know which engine it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cascadeport.base.paths import REPOSITORY
from cascadeport.config.compose import Service

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Mount:
    """A file or folder of this machine that a command needs.

    Args:
        source: Absolute path on this machine.
        target: Absolute path under which a container sees it.
        writable: Whether the command may write there.
    """

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Task:
    """One command of one stage.

    Args:
        stage: The stage's name, for logs and errors.
        argv: The command. Paths in it come from `Engine.path`.
        mounts: Everything the command reads or writes.
        env: Extra environment variables.
        code: The folder of this machine whose packages `python3 -m` finds; an image has its own.
        log: File that receives what the command prints, kept also when it fails.
        deadline_s: Seconds without any output after which the command counts as hung; None: never.
        devices: What the command measures on: no other container on the engine's host may measure
            on them meanwhile.
        locks: Open files for a child process to inherit: it holds these locks for as long as it
            runs, also when whoever started it is gone.
        confined: Whether it reads what somebody else made, so that on this machine, too, it is to
            see its mounts only, and no network.
    """

    stage: str
    argv: Sequence[str]
    mounts: Sequence[Mount]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    code: Path = REPOSITORY
    deadline_s: float | None = None
    devices: Sequence[str] = ()
    locks: Sequence[int] = ()
    confined: bool = False


class Engine(Protocol):
    """Runs tasks. An engine is used by one run at a time and is closed when the run ends."""

    name: str
    in_containers: bool
    spread: bool
    """Whether passes run on several other hosts, whose devices this machine does not see."""

    def path(self, mount: Mount) -> str:
        """The path under which a command run by this engine finds the mount."""

    def path_of_shards(self, mount: Mount) -> str:
        """The same for a command that `run_shards` runs."""

    def service(self, stage: str) -> Service | None:
        """The declaration of the container that runs a stage; None: there is no container."""

    def planned(self, stage: str) -> Mapping[str, str]:
        """What is known of where a stage will run before anything runs. Enters stage keys."""

    def identity(self) -> Mapping[str, str]:
        """What a result must say about where it ran, e.g. the image's digest."""

    def containment(self) -> str:
        """What contains a confined task, in words.

        Raises:
            CascadeportError: What was asked for does not work here.
        """

    def run(self, task: Task, on_event: Callable[[Event], None]) -> None:
        """Runs a task to its end.

        Lines of standard output that are JSON objects with an `event` go to `on_event`; all output
        goes to the task's log.

        Raises:
            CascadeportError: The command failed; with the command's own error event if it sent one.
        """

    def run_shards(self, task: Task, count: int, on_event: Callable[[Event], None]) -> None:
        """Runs a task once for every shard: with `--shard i/count` after its arguments.

        A shard that is done already says so itself and ends well.

        Raises:
            CascadeportError: A shard failed; what is finished is kept.
        """

    def close(self) -> None:
        """Stops what still runs and removes what this run made."""
