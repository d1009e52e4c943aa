"""A runner in a child process, for runtimes that hold Python's lock while a device computes.

aclruntime releases the lock in some versions and not in others (Ascend/tools, ais-bench_workload:
PyInferenceSession.cpp of 2022-09 does, those of 2022-07 and of 2022-11 do not). While the lock is
held, no thread can decode pictures, and the chips of a card take turns. A child process holds up
nobody else. Inputs are not copied: they are in memory that both processes share.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence

import numpy as np

from bundle.errors import BundleError
from bundle.job import Job
from bundle.preprocess import view
from bundle.runners import Outputs, Runner
from bundle.runners.nursery import Nursery


class ProcessRunner(Runner):
    """Loads and runs networks in a child process.

    Unlike other runners it may be called from several threads. With two, the next request is
    already waiting when the child is done with one, so that the device is never idle in between.

    Args:
        job: The job.
        load: Loads the networks, in the child.
        inputs: The flat arrays, in shared memory, of which each batch that `run` is given is the
            beginning (`preprocess.Canvas`).
        nursery: What starts the child, if this process must not fork (`runner_nursery`, with the
            same job, loader and inputs).

    Raises:
        BundleError: The child could not load the networks, or exited.
    """

    def __init__(
        self,
        job: Job,
        load: Callable[[Job], Runner],
        inputs: Sequence[np.ndarray],
        nursery: Optional[Nursery] = None,
    ) -> None:
        self._network_files = job.runner.files
        self._numbers = {array.ctypes.data: number for number, array in enumerate(inputs)}
        self._lock = threading.Lock()
        loaded: Future[None] = Future()
        self._pending: Deque[Future[Any]] = deque([loaded])
        self._exited: Optional[BundleError] = None
        # A forked child sees the same memory. Only the child imports the runtime.
        context = multiprocessing.get_context("fork")
        self._pipe, child_end = context.Pipe()
        if nursery is None:
            arguments = (job, load, inputs, child_end, self._pipe)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            self._number = process.pid
            self._exit_code: Callable[[], Optional[int]] = lambda: _join(process)
        else:
            number = self._number = nursery.start(child_end)
            self._exit_code = lambda: nursery.wait(number)
        child_end.close()
        self._reader = threading.Thread(target=self._read, name="answers", daemon=True)
        self._reader.start()
        loaded.result()

    def describe(self) -> Dict[str, Any]:
        described: Dict[str, Any] = self._request("describe")
        return described

    def run(self, batch: np.ndarray) -> Outputs:
        outputs: Outputs = self._request("run", self._numbers[batch.ctypes.data], batch.shape)
        return outputs

    def run_all(self, batch: np.ndarray) -> List[Outputs]:
        outputs: List[Outputs] = self._request(
            "run_all", self._numbers[batch.ctypes.data], batch.shape
        )
        return outputs

    def kill(self) -> None:
        """Ends the child at once. Whoever waits for an answer of it gets an error."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._exited is None and self._number is not None:
                os.kill(self._number, signal.SIGKILL)

    def close(self) -> None:
        if self._exited is None:
            self._request("close")
        self._reader.join()
        self._pipe.close()

    def _request(self, *request: Any) -> Any:
        answer: Future[Any] = Future()
        with self._lock:
            if self._exited is not None:
                raise self._exited
            self._pending.append(answer)
            # If the child is dead, the reader notices too, and knows why.
            with contextlib.suppress(OSError):
                self._pipe.send(request)
        return answer.result()

    def _read(self) -> None:
        """Passes answers on, in the order of the requests, until the child exits."""
        try:
            while True:
                answer = self._pipe.recv()
                pending = self._pending.popleft()
                if isinstance(answer, BundleError):
                    pending.set_exception(answer)
                else:
                    pending.set_result(answer)
        except (EOFError, OSError):
            pass
        try:
            exited = _exit_error(self._exit_code(), self._network_files)
        except BundleError as failure:
            exited = failure
        with self._lock:
            self._exited = exited
            for pending in self._pending:
                pending.set_exception(self._exited)


def runner_nursery(
    job: Job, load: Callable[[Job], Runner], inputs: Sequence[np.ndarray]
) -> Nursery:
    """A nursery for ProcessRunner. It must be made before the program has threads."""
    return Nursery(lambda pipe: _serve(job, load, inputs, pipe, None))


def _join(process: Any) -> Optional[int]:
    process.join()
    code: Optional[int] = process.exitcode
    return code


def _exit_error(code: Optional[int], network_files: str) -> BundleError:
    how = "by signal {}".format(-code) if code and code < 0 else "with code {}".format(code)
    return BundleError(
        "The runtime's process ended {}.".format(how),
        network_files,
        "Signal 9 usually means out of memory; 6, 7 and 11 are crashes of the runtime or its "
        "driver, and the log above says more.",
    )


def _serve(
    job: Job,
    load: Callable[[Job], Runner],
    inputs: Sequence[np.ndarray],
    pipe: Any,
    parent_end: Any,
) -> None:
    """The child: answers requests one by one until it is closed or its parent is gone."""
    # As long as this copy is open, the death of the parent would go unnoticed.
    if parent_end is not None:
        parent_end.close()
    # Ctrl-C reaches every process of a terminal, but the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What a runtime prints from C stays in a buffer, and is lost when this process exits:
    # multiprocessing ends it by _exit. Runtimes print their errors there.
    flush = ctypes.CDLL(None).fflush

    def send(answer: Any) -> None:
        flush(None)
        pipe.send(answer)

    try:
        runner = _result_or_error(load, job)
        send(runner if isinstance(runner, BundleError) else None)
        while isinstance(runner, Runner):
            request, *arguments = pipe.recv()
            if request in ("run", "run_all"):
                number, shape = arguments
                send(_result_or_error(getattr(runner, request), view(inputs[number], shape)))
            elif request == "describe":
                send(_result_or_error(runner.describe))
            else:
                send(_result_or_error(runner.close))
                return
    except (EOFError, OSError):
        pass  # the parent is gone


def _result_or_error(work: Callable[..., Any], *arguments: Any) -> Any:
    """The result of the work, or the error for the parent to raise."""
    try:
        return work(*arguments)
    except BundleError as failure:
        return failure
    except Exception as failure:
        return BundleError(
            "Internal error in the runtime's process: {}: {}".format(
                type(failure).__name__, failure
            ),
            "",
            "The log above may say more.",
        )
