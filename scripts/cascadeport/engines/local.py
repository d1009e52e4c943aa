"""The local engine: commands run on this machine, in this Python environment."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

from cascadeport.engines import Event, Mount, Task
from cascadeport.errors import CascadeportError
from cascadeport.options import REPOSITORY

# What the numbers of a local run depend on besides the project's own code.
_PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime")
_GRACE_S = 10.0


def identity() -> Mapping[str, str]:
    """Versions of Python and of the packages that touch pictures and boxes."""
    from importlib import metadata

    versions = {"python": ".".join(str(part) for part in sys.version_info[:3])}
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


class LocalEngine:
    """Runs tasks as child processes; see `Engine`."""

    name = "local"

    def path(self, mount: Mount) -> str:
        """A command of this machine sees this machine's own paths."""
        return str(mount.source)

    def identity(self) -> Mapping[str, str]:
        """See the module's `identity`."""
        return identity()

    def run(self, task: Task, on_event: Callable[[Event], None]) -> None:
        """Runs a task as a child in a session of its own, so that Ctrl-C reaches us first."""
        argv = [sys.executable if part == "python3" else part for part in task.argv]
        own = {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"}
        env = {**os.environ, **own, **task.env}
        with task.log.open("wb") as log:
            process = subprocess.Popen(
                argv,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                assert process.stdout is not None
                failure = _follow(process.stdout, log, task.deadline_s, on_event)
                code = process.wait()
            finally:
                _stop(process)
        if failure is not None:
            raise CascadeportError(
                failure.get("what", "The command failed."),
                where=failure.get("where", ""),
                next=failure.get("next", ""),
            )
        if code != 0:
            raise CascadeportError(
                _ended(task.stage, code),
                where=f"the end of its log: {_tail(task)}",
                next="Run again with --debug --keep-failed to keep the whole log.",
            )

    def close(self) -> None:
        """Nothing outlives a task here."""


def _follow(
    stream: IO[bytes],
    log: IO[bytes],
    deadline_s: float | None,
    on_event: Callable[[Event], None],
) -> Mapping[str, Any] | None:
    """Reads the child's lines until it closes its output; returns its error event, if any."""
    lines: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    failure: Mapping[str, Any] | None = None
    while True:
        try:
            line = lines.get(timeout=deadline_s)
        except queue.Empty:
            raise CascadeportError(
                f"The command has said nothing for {deadline_s:.0f} s and was stopped.",
                next="See whether the machine is busy or out of memory; then run again.",
            ) from None
        if line is None:
            return failure
        log.write(line)
        log.flush()
        event = parse_event(line)
        if event is None:
            continue
        if event["event"] == "error":
            failure = event
        else:
            on_event(event)


def parse_event(line: bytes) -> Mapping[str, Any] | None:
    """The event in a line of output, or None when the line is something else."""
    if not line.startswith(b"{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "event" in value else None


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the child and everything it started: first politely, then not."""
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
        return f"The command of stage {stage} was killed, as the kernel does when memory runs out."
    if code < 0:
        return f"The command of stage {stage} was ended by {signal.Signals(-code).name}."
    return f"The command of stage {stage} ended with exit code {code}."


def _tail(task: Task) -> str:
    text = task.log.read_text(encoding="utf-8", errors="replace").strip()
    return " | ".join(text.splitlines()[-3:]) or "(it printed nothing)"
