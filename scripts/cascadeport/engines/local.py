"""The local engine: commands run on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from cascadeport.base.errors import CascadeportError
from cascadeport.config.compose import Service
from cascadeport.core.backend import Backend
from cascadeport.core.follow import Chunk, follow, tail
from cascadeport.core.shards import in_turn
from cascadeport.core.task import Event, Mount, Task
from cascadeport.engines import child, sandbox

# What the numbers of every local run depend on besides the project's own code.
_PACKAGES = ("numpy", "opencv-python-headless")
_GRACE_S = 10.0


class LocalEngine:
    """Runs tasks as child processes; see `Engine`.

    Args:
        backend: Its environment runs the bundle.
        sandbox: The name of the sandbox of confined tasks; empty: the best that works here.
    """

    name = "local"
    in_containers = False
    spread = False

    def __init__(self, backend: Backend[Any], sandbox: str = "") -> None:
        self._backend = backend
        self._sandbox = sandbox

    def path(self, mount: Mount) -> str:
        """A command of this machine sees this machine's own paths."""
        return str(mount.source.absolute())

    def path_of_shards(self, mount: Mount) -> str:
        """See `path`."""
        return self.path(mount)

    def service(self, stage: str) -> Service | None:
        """There is no container."""
        return None

    def planned(self, stage: str) -> Mapping[str, str]:
        """See `identity`."""
        return {"engine": "local", **self.identity()}

    def identity(self) -> Mapping[str, str]:
        """Versions of Python and of the packages that touch pictures and boxes."""
        environment = self._backend.environment
        found = {"python": ".".join(str(part) for part in sys.version_info[:3])}
        if environment is not None:
            found |= environment.pinned
        else:
            for package in _PACKAGES:
                with contextlib.suppress(metadata.PackageNotFoundError):
                    found[package] = metadata.version(package)
        return {**found, **self._backend.versions()}

    def containment(self) -> str:
        """See `Engine`."""
        return sandbox.choose(self._sandbox).text

    def run(self, task: Task, on_event: Callable[[Event], None]) -> None:
        """Runs a task as a child in a session of its own, so that Ctrl-C reaches us first."""
        environment = self._backend.environment
        python = sys.executable if environment is None else str(environment.python)
        argv = [python if part == "python3" else part for part in task.argv]
        if not task.confined:
            self._run(task, argv, child.environment(), on_event)
            return
        chosen = sandbox.choose(self._sandbox)
        with tempfile.TemporaryDirectory(prefix="cascadeport-sandbox-") as folder:
            scratch = Path(folder).resolve()
            argv = chosen.command(argv, task.mounts, task.code, scratch)
            self._run(task, argv, chosen.environment(child.environment(), scratch), on_event)

    def _run(
        self,
        task: Task,
        argv: list[str],
        environment: Mapping[str, str],
        on_event: Callable[[Event], None],
    ) -> None:
        process = subprocess.Popen(
            argv,
            # `python3 -m` looks there first.
            cwd=task.code,
            env={**environment, **task.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=task.locks,
        )
        try:
            assert process.stdout is not None
            failure = follow(_chunks(process.stdout), task, on_event)
            code = process.wait()
        finally:
            _stop(process)
        if failure is not None:
            raise CascadeportError(
                str(failure.get("what", "The command failed.")),
                where=str(failure.get("where", "")),
                next=str(failure.get("next", "")),
            )
        if code != 0:
            raise CascadeportError(
                _ended(task.stage, code),
                where=f"the end of its log: {tail(task)}",
                next="Run again with --debug --keep-failed to keep the whole log.",
            )

    def run_shards(self, task: Task, count: int, on_event: Callable[[Event], None]) -> None:
        """See `Engine`: one after the other."""
        in_turn(self.run, task, count, on_event)

    def close(self) -> None:
        """Nothing outlives a task here."""


def _chunks(stream: IO[bytes]) -> Iterator[Chunk]:
    for line in stream:
        yield line, None


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the child and everything it started: SIGTERM first, SIGKILL after a grace period."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended(stage: str, code: int) -> str:
    if code == -signal.SIGKILL:
        return (
            f"The command of stage {stage} was killed, as the kernel does when it runs out of "
            "memory."
        )
    if code < 0:
        return f"The command of stage {stage} was ended by {signal.Signals(-code).name}."
    return f"The command of stage {stage} ended with exit code {code}."
