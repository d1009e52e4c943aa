"""The streaming pass: decode and preprocess, network and postprocess overlap, in bounded memory.

Each picture is a chain of three futures, made in the job's order: *prepare* in `workers` threads,
*infer* in one thread, *conclude* in one. README.md says why.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Callable, Iterable, List, NamedTuple, Optional, Union

import cv2

from bundle.errors import PictureError
from bundle.geometry import Geometry, fit
from bundle.job import Job, Picture
from bundle.measure import Times
from bundle.picture import Skipped, read_picture
from bundle.preprocess import Canvas, Preprocessor
from bundle.runners import Outputs, Runner, needs_own_process
from bundle.runners.process import ProcessRunner


class Prepared(NamedTuple):
    """A picture that is ready for the network."""

    picture: Picture
    geometry: Geometry
    canvas: Canvas
    times: Times


class Inferred(NamedTuple):
    """What the network said of a picture. `times` lacks postprocessing."""

    picture: Picture
    geometry: Geometry
    outputs: Outputs
    times: Times


class _StoppedError(Exception):
    """Another picture failed, and its failure is the one that is told."""


class Stream:
    """A loaded network and the threads around it. Use it as a context manager.

    Args:
        job: The job.
        load: Loads the networks, once for each of the job's lanes (the chips of a card). What it
            returns is used and closed in the thread that called it, as runtimes with a context
            per thread need it, or in a process of its own (runners/process.py).
    """

    def __init__(self, job: Job, load: Callable[[Job], Runner]) -> None:
        # Pictures are worked on side by side; threads inside one picture would only compete.
        cv2.setNumThreads(1)
        self._job = job
        self._load = load
        self._preprocessor = Preprocessor(job.preprocess)
        self._failure: Optional[BaseException] = None
        self._lock = threading.Lock()
        # The chips of a card share the pictures, so that one pass measures the card as a whole.
        self._lanes = [replace(job, runner=lane) for lane in job.runner.lanes]
        # A process of its own has its next request waiting: see runners/process.py.
        threads = [2 if needs_own_process(lane) else 1 for lane in self._lanes]
        # Pictures under way: being prepared, waiting, in the networks, being concluded.
        self._depth = job.workers + job.queue + 1 + sum(threads)
        canvases = [Canvas(job.preprocess) for _ in range(self._depth)]
        self._inputs = [canvas.memory for canvas in canvases]
        self._canvases: queue.LifoQueue[Canvas] = queue.LifoQueue()
        for canvas in canvases:
            self._canvases.put(canvas)
        self._before = ThreadPoolExecutor(job.workers, "prepare")
        self._networks = [ThreadPoolExecutor(count, "network") for count in threads]
        self._after = ThreadPoolExecutor(1, "conclude")

    def __enter__(self) -> Stream:
        self._runners: List[Runner] = []
        try:
            for network, lane in zip(self._networks, self._lanes):
                self._runners.append(network.submit(self._open, lane).result())
        except BaseException as failure:
            self._end(isinstance(failure, Exception))
            raise
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        # A signal does not wait for a network that may take seconds: the process ends anyway.
        self._end(kind is None or issubclass(kind, Exception))

    @property
    def runner(self) -> Runner:
        """The networks of the first lane; the others are like it."""
        return self._runners[0]

    def _open(self, lane: Job) -> Runner:
        if needs_own_process(lane):
            return ProcessRunner(lane, self._load, self._inputs)
        return self._load(lane)

    def _end(self, wait: bool) -> None:
        if wait:
            for network, runner in zip(self._networks, self._runners):
                network.submit(runner.close).result()
        for executor in (self._before, *self._networks, self._after):
            executor.shutdown(wait=wait)

    def run(
        self, pictures: Iterable[Picture], conclude: Callable[[Union[Inferred, Skipped]], None]
    ) -> None:
        """Passes over pictures. `conclude` is called in their order, from one thread.

        Raises:
            BundleError: A picture, the network or `conclude` failed. It is the first failure; what
                was running then has been waited for, and nothing new was begun.
        """
        under_way: deque = deque()
        try:
            for number, picture in enumerate(pictures):
                if len(under_way) == self._depth:
                    under_way.popleft().result()
                prepared = self._before.submit(self._guard, self._prepare, picture)
                lane = number % len(self._lanes)
                inferred = self._networks[lane].submit(self._guard, self._infer, prepared, lane)
                under_way.append(self._after.submit(self._guard, _conclude, inferred, conclude))
            while under_way:
                under_way.popleft().result()
        except Exception as failure:
            raise self._failure or failure from None

    def _guard(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Does the work unless something failed already; remembers the first failure."""
        if self._failure is not None:
            raise _StoppedError
        try:
            return work(*arguments)
        except BaseException as failure:
            with self._lock:
                if self._failure is None:
                    self._failure = failure
            raise

    def _prepare(self, picture: Picture) -> Union[Prepared, Skipped]:
        path = self._job.path(picture)
        start = time.perf_counter()
        try:
            image = read_picture(path, picture)
        except PictureError as failure:
            if not self._job.keep_going:
                raise
            return Skipped(picture, failure.what)
        decoded = time.perf_counter()
        geometry = fit(picture, self._job.preprocess)
        canvas = self._canvases.get_nowait()  # there is one for every picture under way
        self._preprocessor.prepare(image, geometry, canvas)
        times = Times(decode=_ms(start, decoded), preprocess=_ms(decoded, time.perf_counter()))
        return Prepared(picture, geometry, canvas, times)

    def _infer(self, future: Any, lane: int) -> Union[Inferred, Skipped]:
        prepared = future.result()
        if isinstance(prepared, Skipped):
            return prepared
        picture, geometry, canvas, times = prepared
        outputs = self._runners[lane].run(canvas.array)
        self._canvases.put(canvas)
        times.chip = lane
        times.h2d, times.device, times.d2h = outputs.h2d_ms, outputs.device_ms, outputs.d2h_ms
        return Inferred(picture, geometry, outputs, times)


def _conclude(future: Any, conclude: Callable[[Union[Inferred, Skipped]], None]) -> None:
    conclude(future.result())


def _ms(start: float, end: float) -> float:
    return (end - start) * 1000.0
