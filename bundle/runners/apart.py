"""A runner in a process of its own, for runtimes that keep Python's lock while a device computes.

aclruntime gives the lock back in some versions and not in others (Ascend/tools, ais-bench_workload:
PyInferenceSession.cpp of 2022-09 does, those of 2022-07 and of 2022-11 do not). With the lock kept,
no thread decodes while the chip computes, and the chips of a card take turns. A process blocks
nobody else. Inputs are not copied: they lie in memory that both processes see.
"""

from __future__ import annotations

import multiprocessing
import signal
from typing import Any, Callable, Dict, Sequence

import numpy as np

from bundle.errors import BundleError
from bundle.job import Job
from bundle.runners import Outputs, Runner


class Apart(Runner):
    """Loads and runs a network in a child process.

    Args:
        job: The job.
        load: Loads the network there.
        inputs: The arrays that `run` will be given, in shared memory (`preprocess.Canvas`).
    """

    def __init__(
        self, job: Job, load: Callable[[Job], Runner], inputs: Sequence[np.ndarray]
    ) -> None:
        self._model = job.runner.model
        self._numbers = {array.ctypes.data: number for number, array in enumerate(inputs)}
        # A forked child sees the same memory. The runtime is not imported here, only there.
        context = multiprocessing.get_context("fork")
        self._pipe, other = context.Pipe()
        arguments = (job, load, inputs, other, self._pipe)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        other.close()
        self._answer()

    def describe(self) -> Dict[str, Any]:
        return self._ask("describe")

    def run(self, batch: np.ndarray) -> Outputs:
        return self._ask("run", self._numbers[batch.ctypes.data])

    def close(self) -> None:
        if self._process.is_alive():
            self._ask("close")
        self._process.join()
        self._pipe.close()

    def _ask(self, *request: Any) -> Any:
        try:
            self._pipe.send(request)
        except OSError:
            raise self._gone() from None
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        if isinstance(answer, BundleError):
            raise answer
        return answer

    def _gone(self) -> BundleError:
        self._process.join()
        code = self._process.exitcode
        ended = "by signal {}".format(-code) if code and code < 0 else "with code {}".format(code)
        return BundleError(
            "The runtime's process ended {}.".format(ended),
            self._model,
            "Signal 9 is most often a lack of memory; 6, 7 and 11 are crashes of the runtime or "
            "its driver, and its log above says more.",
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
                pipe.send(_tried(runner.run, inputs[arguments[0]]))
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
