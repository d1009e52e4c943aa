"""The local engine: events, errors, silence and interruption of a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.core.task import Engine, Mount, Task

from tests.helpers.contexts import context


def engine() -> Engine:
    return context("cpu").engine


def run(
    tmp_path: Path, code: str, deadline_s: float | None = 30
) -> tuple[list[dict[str, Any]], str]:
    events: list[Any] = []
    log = tmp_path / "log.txt"
    task = Task(
        stage="infer",
        argv=("python3", "-c", textwrap.dedent(code)),
        mounts=(),
        log=log,
        deadline_s=deadline_s,
    )
    engine().run(task, events.append)
    return events, log.read_text()


def test_events_are_told_from_other_lines(tmp_path: Path) -> None:
    events, log = run(
        tmp_path,
        """
        import sys
        print("plain text")
        print('{"event": "progress", "done": 1, "total": 2}')
        print('{"no": "event"}')
        print('{broken')
        print("to stderr", file=sys.stderr)
        """,
    )
    assert events == [{"event": "progress", "done": 1, "total": 2}]
    assert "plain text" in log
    assert "to stderr" in log


def test_the_childs_own_error_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError) as caught:
        run(
            tmp_path,
            """
            print('{"event": "error", "what": "A.", "where": "b.jpg", "next": "C."}')
            raise SystemExit(2)
            """,
        )
    error = caught.value
    assert (error.what, error.where, error.next) == ("A.", "b.jpg", "C.")


def test_a_crash_shows_the_end_of_the_log(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="exit code 7") as caught:
        run(tmp_path, "print('last words'); raise SystemExit(7)")
    assert "last words" in caught.value.where


def test_killed_for_memory(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="memory"):
        run(tmp_path, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")


def test_a_silent_command_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="printed nothing"):
        run(tmp_path, "import time; time.sleep(600)", deadline_s=0.5)


def test_paths_are_this_machines(tmp_path: Path) -> None:
    assert engine().path(Mount(tmp_path, "/data")) == str(tmp_path)


def test_an_interrupt_takes_the_child_along(tmp_path: Path) -> None:
    """Ctrl-C reaches the orchestrator; nothing of the child may survive it."""
    script = f"""
        import sys
        from pathlib import Path
        from cascadeport.core.task import Task
        from tests.helpers.contexts import context
        code = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
        task = Task("infer", ("python3", "-c", code), (), Path({str(tmp_path / "log.txt")!r}))
        context("cpu").engine.run(task, print)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(REPOSITORY), *sys.path])},
        stderr=subprocess.DEVNULL,
    )
    log = tmp_path / "log.txt"
    for _ in range(300):
        if log.exists() and log.read_text().strip():
            break
        time.sleep(0.1)
    child = int(log.read_text())
    process.send_signal(signal.SIGINT)
    process.wait(30)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
