"""A frozen image's server in a process of its own, and a device that does as a test says.

`python -m tests.helpers.frozen_server FLAGS ARGUMENTS` is `python -m bundle.frozen ARGUMENTS` with
onnxruntime behind a runner that looks into the folder FLAGS: `lost` makes loading and running fail,
`once` makes one picture fail, `slow` holds the seconds that a picture takes, `loading` holds up
loading as long as it exists, `limits` holds limits that have no option, as JSON, and `clock` makes
the clock go back a day whenever it is looked at.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bundle.errors import BundleError
from bundle.job import Job
from bundle.runners import Outputs, Runner, open_runner
from tests.helpers import bundle_jobs as jobs

_LISTENING = re.compile(rb"listening on https?://[^ ]*:(\d+)\n")


class Reply(NamedTuple):
    """An answer: its status, header fields by lower-case names, and content."""

    status: int
    fields: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """The content as JSON."""
        return json.loads(self.content)


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path, start: int) -> None:
        self.process = process
        self.port = port
        self._log = log
        self._start = start

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_bytes()[self._start :].decode()

    def ask(
        self,
        path: str,
        body: bytes | None = None,
        method: str | None = None,
        timeout: float = 30,
        **fields: str,
    ) -> Reply:
        """Makes a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in fields.items()}
            verb = method or ("GET" if body is None else "POST")
            connection.request(verb, path, body, named)
            answer = connection.getresponse()
            content = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, content)

    def wait_for(self, state: str, seconds: float = 30) -> None:
        """Waits until /readyz names this state."""
        end = time.monotonic() + seconds
        while self.ask("/readyz").json["state"] != state:
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def stop(self) -> int:
        """Ends it by SIGTERM; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def serving(
    folder: Path,
    *arguments: object,
    flags: Path | None = None,
    state: str = "ready",
    environment: dict[str, str] | None = None,
    python: object = sys.executable,
) -> Iterator[Server]:
    """A server on any free port, in the given state. It is killed in the end, if it still runs."""
    temporary = folder.parent / "tmp"
    temporary.mkdir(exist_ok=True)
    log = folder.parent / "serve.log"
    module = ["tests.helpers.frozen_server", str(flags)] if flags else ["bundle.frozen"]
    command = [str(python), "-m", *module, "--frozen", str(folder), "serve", "--port", "0"]
    with log.open("ab") as stream:
        start = stream.tell()
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", *map(str, arguments)],
            env={**jobs.environment(), "TMPDIR": str(temporary), **(environment or {})},
            cwd=jobs.REPOSITORY,
            stderr=stream,
        )
    try:
        end = time.monotonic() + 30
        while not (found := _LISTENING.search(log.read_bytes()[start:])):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.01)
        server = Server(process, int(found.group(1)), log, start)
        if state:
            server.wait_for(state)
        yield server
    finally:
        process.kill()
        process.wait()


class _Flagged(Runner):
    """onnxruntime, if the flags allow."""

    def __init__(self, job: Job, flags: Path) -> None:
        self._flags = flags
        while (flags / "loading").exists():
            time.sleep(0.01)
        self._check()
        self._inner = open_runner(job)

    def run(self, batch: np.ndarray) -> Outputs:
        self._check()
        if (self._flags / "once").exists():
            (self._flags / "once").unlink()
            raise BundleError("The network has failed.", "device 0", "Try again.")
        slow = self._flags / "slow"
        if slow.exists():
            time.sleep(float(slow.read_text()))
        return self._inner.run(batch)

    def describe(self) -> dict[str, Any]:
        return self._inner.describe()

    def close(self) -> None:
        self._inner.close()

    def _check(self) -> None:
        if (self._flags / "lost").exists():
            raise BundleError("The device does not answer.", "device 0", "Check it.")


def _main() -> None:
    """The program with a flagged device."""
    from bundle.frozen import __main__ as program
    from bundle.frozen.serve import limits, server

    flags = Path(sys.argv[1])
    defaults = server.serve.__defaults__
    assert defaults == (open_runner,)
    server.serve.__defaults__ = (lambda job: _Flagged(job, flags),)
    if (flags / "limits").exists():
        changes = json.loads((flags / "limits").read_text())
        usual = limits.Limits
        limits.Limits = lambda **given: usual(**{**given, **changes})  # type: ignore[assignment,misc]
    if (flags / "clock").exists():
        now, days = time.time, itertools.count()
        time.time = lambda: now() - 86400 * next(days)  # type: ignore[assignment]
    os._exit(program.main(sys.argv[2:]))


if __name__ == "__main__":
    _main()
