"""A runner in a process of its own, for runtimes that keep Python's lock while a device computes.

aclruntime gives the lock back in some versions and not in others (Ascend/tools, ais-bench_workload:
PyInferenceSession.cpp of 2022-09 does, those of 2022-07 and of 2022-11 do not). With the lock kept,
no thread decodes while the chip computes, and the chips of a card take turns. A process blocks
nobody else. Inputs are not copied: they lie in memory that both processes see.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, Callable, Deque, Dict, Optional, Sequence

import numpy as np

from bundle.errors import BundleError
from bundle.job import Job
from bundle.preprocess import viewed
from bundle.runners import Outputs, Runner


class Apart(Runner):
    """Loads and runs a network in a child process.

    Unlike other runners it may be called from several threads. With two, the child finds the next
    request waiting when it is done with one, and nobody has to wake up in between.

    Args:
        job: The job.
        load: Loads the network there.
        inputs: The flat arrays, in shared memory, at whose beginnings lie those that `run` will
            be given (`preprocess.Canvas`).
    """

    def __init__(
        self, job: Job, load: Callable[[Job], Runner], inputs: Sequence[np.ndarray]
    ) -> None:
        self._model = job.runner.files
        self._numbers = {array.ctypes.data: number for number, array in enumerate(inputs)}
        self._lock = threading.Lock()
        loaded: Future[None] = Future()
        self._waiting: Deque[Future[Any]] = deque([loaded])
        self._gone: Optional[BundleError] = None
        # A forked child sees the same memory. The runtime is not imported here, only there.
        context = multiprocessing.get_context("fork")
        self._pipe, other = context.Pipe()
        arguments = (job, load, inputs, other, self._pipe)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        other.close()
        self._reader = threading.Thread(target=self._read, name="answers", daemon=True)
        self._reader.start()
        loaded.result()

    def describe(self) -> Dict[str, Any]:
        return self._ask("describe")

    def run(self, batch: np.ndarray) -> Outputs:
        return self._ask("run", self._numbers[batch.ctypes.data], batch.shape)

    def close(self) -> None:
        if self._gone is None:
            self._ask("close")
        self._reader.join()
        self._pipe.close()

    def _ask(self, *request: Any) -> Any:
        answer: Future[Any] = Future()
        with self._lock:
            if self._gone is not None:
                raise self._gone
            self._waiting.append(answer)
            with contextlib.suppress(OSError):  # the reader notices as well, and knows more
                self._pipe.send(request)
        return answer.result()

    def _read(self) -> None:
        """Hands answers to those who wait, in the order of their requests, until the child ends."""
        try:
            while True:
                answer = self._pipe.recv()
                waiting = self._waiting.popleft()
                if isinstance(answer, BundleError):
                    waiting.set_exception(answer)
                else:
                    waiting.set_result(answer)
        except (EOFError, OSError):
            self._process.join()
        with self._lock:
            self._gone = _ended(self._process.exitcode, self._model)
            for waiting in self._waiting:
                waiting.set_exception(self._gone)


def _ended(code: Optional[int], model: str) -> BundleError:
    how = "by signal {}".format(-code) if code and code < 0 else "with code {}".format(code)
    return BundleError(
        "The runtime's process ended {}.".format(how),
        model,
        "Signal 9 is most often a lack of memory; 6, 7 and 11 are crashes of the runtime or its "
        "driver, and its log above says more.",
    )


def _serve(
    job: Job,
    load: Callable[[Job], Runner],
    inputs: Sequence[np.ndarray],
    pipe: Any,
    parents_end: Any,
) -> None:
    """The child: answers one request after the other, until it is closed or its parent is gone."""
    # While this end were open here too, the end of the parent would go unnoticed.
    parents_end.close()
    # Ctrl-C reaches every process of a terminal; it is the parent who decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        runner = _tried(load, job)
        pipe.send(runner if isinstance(runner, BundleError) else None)
        while isinstance(runner, Runner):
            request, *arguments = pipe.recv()
            if request == "run":
                number, shape = arguments
                pipe.send(_tried(runner.run, viewed(inputs[number], shape)))
            elif request == "describe":
                pipe.send(_tried(runner.describe))
            else:
                pipe.send(_tried(runner.close))
                return
    except (EOFError, OSError):
        pass  # the parent is gone


def _tried(work: Callable[..., Any], *arguments: Any) -> Any:
    """What the work gives, or the error to be raised on the other side."""
    try:
        return work(*arguments)
    except BundleError as failure:
        return failure
    except Exception as failure:
        return BundleError(
            "Unexpected, in the runtime's process: {}: {}".format(type(failure).__name__, failure),
            "",
            "The log above may say more.",
        )
