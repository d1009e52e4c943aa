"""The streaming pass: decoding, preprocessing, network and postprocessing overlap.

Each picture is a chain of three futures, created in the job's order: *prepare* in `workers`
threads, *infer* in one thread per network, *finish* in one thread. README.md says why.
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
from bundle.geometry import PictureGeometry, fit
from bundle.job import Job, Picture
from bundle.measure import Times
from bundle.picture import SkippedPicture, decode, digest, read_bytes
from bundle.preprocess import Canvas, Preprocessor
from bundle.runners import Outputs, Runner, needs_own_process
from bundle.runners.process import ProcessRunner


class Prepared(NamedTuple):
    """A picture that is ready for the network. `sha256` is the digest of its file."""

    picture: Picture
    sha256: str
    geometry: PictureGeometry
    canvas: Canvas
    times: Times


class Inferred(NamedTuple):
    """What the network returned for a picture. `times` does not include postprocessing yet."""

    picture: Picture
    sha256: str
    geometry: PictureGeometry
    outputs: Outputs
    times: Times


class _AbortedError(Exception):
    """Another picture failed first, and that failure is the one to report."""


class Stream:
    """A loaded network and the threads around it. Use it as a context manager.

    Args:
        job: The job.
        load: Loads the networks; called once for each of the job's lanes (the chips of a card).
            The runner is called and closed in the thread that loaded it, because some runtimes
            keep a context per thread, or in a process of its own (runners/process.py).

    Raises:
        BundleError: When the context is entered: a network cannot be loaded.
    """

    def __init__(self, job: Job, load: Callable[[Job], Runner]) -> None:
        # Pictures are processed in parallel, so threads within a picture would only compete.
        cv2.setNumThreads(1)
        self._job = job
        self._load = load
        self._preprocessor = Preprocessor(job.preprocess)
        self._failure: Optional[BaseException] = None
        self._lock = threading.Lock()
        # The chips of a card share the pictures, so that one pass measures the whole card.
        self._lanes = [replace(job, runner=lane) for lane in job.runner.lanes]
        # Two threads keep the next request waiting for a process: see runners/process.py.
        threads = [2 if needs_own_process(lane) else 1 for lane in self._lanes]
        # How many pictures are in flight: being prepared, queued, in the networks, being finished.
        self._depth = job.workers + job.queue + 1 + sum(threads)
        canvases = [Canvas(job.preprocess) for _ in range(self._depth)]
        self._inputs = [canvas.memory for canvas in canvases]
        self._canvases: queue.LifoQueue[Canvas] = queue.LifoQueue()
        for canvas in canvases:
            self._canvases.put(canvas)
        self._prepare_pool = ThreadPoolExecutor(job.workers, "prepare")
        self._network_pools = [ThreadPoolExecutor(count, "network") for count in threads]
        self._finish_pool = ThreadPoolExecutor(1, "finish")

    def __enter__(self) -> Stream:
        self._runners: List[Runner] = []
        try:
            for pool, lane in zip(self._network_pools, self._lanes):
                self._runners.append(pool.submit(self._open, lane).result())
        except BaseException as failure:
            self._shut_down(isinstance(failure, Exception))
            raise
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        # After a signal, do not wait for a network that may take seconds: the process exits anyway.
        self._shut_down(kind is None or issubclass(kind, Exception))

    @property
    def runner(self) -> Runner:
        """The runner of the first lane; those of the others are alike."""
        return self._runners[0]

    def _open(self, lane: Job) -> Runner:
        if needs_own_process(lane):
            return ProcessRunner(lane, self._load, self._inputs)
        return self._load(lane)

    def _shut_down(self, wait: bool) -> None:
        if wait:
            for pool, runner in zip(self._network_pools, self._runners):
                pool.submit(runner.close).result()
        for executor in (self._prepare_pool, *self._network_pools, self._finish_pool):
            executor.shutdown(wait=wait)

    def run(
        self, pictures: Iterable[Picture], finish: Callable[[Union[Inferred, SkippedPicture]], None]
    ) -> None:
        """Makes a pass over pictures.

        Args:
            pictures: The pictures.
            finish: Called for every picture, in their order, from one thread.

        Raises:
            BundleError: A picture, the network or `finish` failed. It is the first failure; when
                it is raised, nothing is running any more.
        """
        in_flight: deque = deque()
        try:
            for number, picture in enumerate(pictures):
                if len(in_flight) == self._depth:
                    in_flight.popleft().result()
                prepared = self._prepare_pool.submit(self._guard, self._prepare, picture)
                lane = number % len(self._lanes)
                pool = self._network_pools[lane]
                inferred = pool.submit(self._guard, self._infer, prepared, lane)
                in_flight.append(self._finish_pool.submit(self._guard, _finish, inferred, finish))
            while in_flight:
                in_flight.popleft().result()
        except Exception as failure:
            raise self._failure or failure from None

    def _guard(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Does the work unless something has failed already. Remembers the first failure."""
        if self._failure is not None:
            raise _AbortedError
        try:
            return work(*arguments)
        except BaseException as failure:
            with self._lock:
                if self._failure is None:
                    self._failure = failure
            raise

    def _prepare(self, picture: Picture) -> Union[Prepared, SkippedPicture]:
        path = self._job.path(picture)
        start = time.perf_counter()
        try:
            data = read_bytes(path)
            sha256 = digest(data)
            image = decode(data, picture, path)
        except PictureError as failure:
            if not self._job.keep_going:
                raise
            return SkippedPicture(picture, failure.what)
        decoded = time.perf_counter()
        geometry = fit(picture, self._job.preprocess)
        canvas = self._canvases.get_nowait()  # there is one for every picture in flight
        self._preprocessor.prepare(image, geometry, canvas)
        times = Times(decode=_ms(start, decoded), preprocess=_ms(decoded, time.perf_counter()))
        return Prepared(picture, sha256, geometry, canvas, times)

    def _infer(self, future: Any, lane: int) -> Union[Inferred, SkippedPicture]:
        prepared = future.result()
        if isinstance(prepared, SkippedPicture):
            return prepared
        picture, sha256, geometry, canvas, times = prepared
        outputs = self._runners[lane].run(canvas.array)
        self._canvases.put(canvas)
        times.chip = lane
        times.h2d, times.device, times.d2h = outputs.h2d_ms, outputs.device_ms, outputs.d2h_ms
        return Inferred(picture, sha256, geometry, outputs, times)


def _finish(future: Any, finish: Callable[[Union[Inferred, SkippedPicture]], None]) -> None:
    finish(future.result())


def _ms(start: float, end: float) -> float:
    return (end - start) * 1000.0
