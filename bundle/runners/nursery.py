"""Starts runtimes' processes for a program that has threads and sockets.

A process that is forked while another thread holds a lock inherits the lock, and nobody ever
releases it; and it keeps the sockets of the program open. So a server forks this process early,
before it has either, and lets it fork the runtime's process whenever one is needed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any, Callable

from bundle.errors import BundleError


class Nursery:
    """A process without threads, which forks others.

    Args:
        work: What a forked process does with its end of a pipe.
    """

    def __init__(self, work: Callable[[Any], None]) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, child_end = context.Pipe()
        self._lock = threading.Lock()
        arguments = (work, child_end, self._pipe)
        self._process = context.Process(target=_tend, args=arguments, daemon=True)
        self._process.start()
        child_end.close()

    def start(self, pipe: Any) -> int:
        """Forks a process, and gives it this end of a pipe; returns the process's number.

        Raises:
            BundleError: The nursery is gone, or cannot fork.
        """
        with self._lock, _explained():
            self._pipe.send("start")
            reduction.send_handle(self._pipe, pipe.fileno(), self._process.pid)
            answer = self._pipe.recv()
        if isinstance(answer, str):
            raise _error(answer)
        return int(answer)

    def wait(self, process: int) -> int:
        """Waits for a process to end; returns its exit code, or minus the signal's number.

        Raises:
            BundleError: The nursery is gone.
        """
        with self._lock, _explained():
            self._pipe.send(process)
            return int(self._pipe.recv())


@contextlib.contextmanager
def _explained() -> Any:
    try:
        yield
    except (OSError, EOFError):
        raise _error("The process that starts it is gone.") from None


def _error(what: str) -> BundleError:
    return BundleError(
        "The runtime's process cannot be started: {}".format(what),
        "",
        "Start this program again.",
    )


def _tend(work: Callable[[Any], None], pipe: Any, parent_end: Any) -> None:
    """The nursery's process: starts and awaits others until its parent is gone."""
    parent_end.close()
    # Ctrl-C reaches every process of a terminal, but the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(OSError, EOFError):
        while True:
            request = pipe.recv()
            if request == "start":
                handle = reduction.recv_handle(pipe)
                pipe.send(_fork(work, handle, pipe))
                os.close(handle)
            else:
                pipe.send(_wait(request))


def _fork(work: Callable[[Any], None], handle: int, pipe: Any) -> Any:
    """Forks; returns the process's number, or why there is none."""
    try:
        process = os.fork()
    except OSError as failure:
        return "{}.".format(failure.strerror)
    if process:
        return process
    code = 1
    try:
        pipe.close()
        work(Connection(handle))
        code = 0
    finally:
        os._exit(code)


def _wait(process: int) -> int:
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        return -os.WTERMSIG(status)
    return os.WEXITSTATUS(status)
