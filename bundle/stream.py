"""The streaming pass: decoding, preprocessing, network and postprocessing overlap.

Each picture is a chain of three steps, created in the job's order: *prepare* in as many
threads as the device needs, *infer* in one thread per network, *finish* in one thread. README.md
says why.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    List,
    Optional,
    Tuple,
    Union,
)

import cv2

from bundle.errors import PictureError
from bundle.geometry import fit
from bundle.group import Group, Inferred, Prepared, Result
from bundle.handover import Handover
from bundle.job import Job, Picture, Shape
from bundle.measure import Times
from bundle.picture import SkippedPicture, decode, digest, read_bytes, sized
from bundle.preprocess import Batch, Canvas, Preprocessor, canvas_memory
from bundle.runners import Outputs, Runner, needs_own_process
from bundle.runners.process import ProcessRunner
from bundle.workers import Pace, Workers, cores

# How many groups of several pictures may be filling at the same time, each of another shape.
_FILLING = 4


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
        self._start = 0.0
        # The chips of a card share the pictures, so that one pass measures the whole card. So do
        # the streams of a processor.
        self._lanes = [
            replace(job, runner=lane)
            for lane in job.runner.lanes
            for _ in range(job.runner.streams)
        ]
        # Two threads keep the next request waiting for a process: see runners/process.py.
        self._threads = [2 if needs_own_process(lane) else 1 for lane in self._lanes]
        limit = max(job.workers, cores()) if job.workers_grow else job.workers
        self.pace = Pace(limit, len(self._lanes), job.preprocess.pictures)
        self.padded = 0
        # Mapped for the most workers that there may be, because processes are forked before it is
        # known how many there are. It takes no memory before canvases are made of it.
        self._inputs = [canvas_memory(job.preprocess) for _ in range(self._depth_for(limit))]
        self._batches: queue.LifoQueue[Batch] = queue.LifoQueue()
        self._made = 0
        self._workers = Workers(job.workers, "prepare")
        self._make_batches()
        self._network_pools = [ThreadPoolExecutor(count, "network") for count in self._threads]
        self._finish_pool = ThreadPoolExecutor(1, "finish")
        self._handover = Handover()
        # How many groups each lane has still to begin with.
        self._queued = [0] * len(self._lanes)

    def __enter__(self) -> Stream:
        self._runners: List[Runner] = []
        try:
            for number, pool in enumerate(self._network_pools):
                self._runners.append(pool.submit(self._open, number).result())
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

    @property
    def workers(self) -> int:
        """How many threads decode and preprocess at the moment."""
        return self._workers.count

    def _open(self, number: int) -> Runner:
        lane = self._lanes[number]
        first = number - number % lane.runner.streams
        if number != first:
            return self._runners[first].twin()
        if needs_own_process(lane):
            return ProcessRunner(lane, self._load, self._inputs)
        return self._load(lane)

    def _depth_for(self, workers: int) -> int:
        """How many groups are in flight: prepared, queued, in the networks, being finished."""
        pictures = self._job.preprocess.pictures
        waiting = -(-workers // pictures) - (-self._job.queue // pictures)
        # Groups of other shapes may be filling, too.
        filling = 1 if pictures == 1 else _FILLING
        return waiting + filling + sum(self._threads)

    def _make_batches(self) -> None:
        """Makes those that are missing for the present number of workers."""
        while self._made < self._depth_for(self._workers.count):
            self._batches.put(Batch(self._job.preprocess, self._inputs[self._made]))
            self._made += 1

    def _keep_pace(self) -> None:
        while self._workers.count < self.pace.workers:
            self._workers.add()
            self._make_batches()
        while self._workers.count > self.pace.workers:
            self._workers.remove()

    def _shut_down(self, wait: bool) -> None:
        if wait:
            for pool, runner in zip(self._network_pools, self._runners):
                pool.submit(runner.close).result()
        self._workers.shutdown(wait)
        if wait:
            self._handover.close()
        for executor in (*self._network_pools, self._finish_pool):
            executor.shutdown(wait=wait)

    def run(
        self,
        pictures: Iterable[Picture],
        finish: Callable[[Union[Inferred, SkippedPicture]], None],
        adapt: bool = True,
    ) -> None:
        """Makes a pass over pictures.

        Args:
            pictures: The pictures.
            finish: Called for every picture, in their order, from one thread.
            adapt: Whether workers may be added where the network waits for pictures; only if the
                job says so, too.

        Raises:
            BundleError: A picture, the network or `finish` failed. It is the first failure; when
                it is raised, nothing is running any more.
        """
        at_once = self._job.preprocess.pictures
        in_flight: Deque[Tuple[Any, Group]] = deque()
        # Those that are still filling, by the shape of their pictures; None: any.
        filling: Dict[Optional[Shape], Group] = {}
        groups = itertools.count()
        under_way = 0
        self.padded = 0
        adapt = adapt and self._job.workers_grow
        self._start = time.perf_counter()
        self.pace.restart(adapt)

        def complete(group: Group) -> None:
            group.is_complete = True
            with self._lock:
                self._queued[group.lane] += 1
            pool = self._network_pools[group.lane]
            pool.submit(self._run_group, group)

        def await_oldest() -> int:
            """Returns how many groups are over with it."""
            future, group = in_flight.popleft()
            if not group.is_complete:
                filling.pop(next(shape for shape, one in filling.items() if one is group))
                complete(group)
            future.result()
            group.unfinished -= 1
            return int(group.unfinished == 0)

        try:
            for picture in pictures:
                if adapt:
                    self._keep_pace()
                shape = fit(picture, self._job.preprocess).shape if at_once > 1 else None
                if shape not in filling:
                    while under_way >= self._depth_for(self._workers.count):
                        under_way -= await_oldest()
                    group = Group(self._batches.get_nowait(), next(groups) % len(self._lanes))
                    if shape is not None:
                        group.batch.use_shape(shape)
                    under_way += 1
                    filling[shape] = group
                group = filling[shape]
                slot = len(group.prepared)
                canvas = group.batch.canvases[slot]
                group.prepared.append(
                    self._workers.submit(self._guard, self._prepare, picture, canvas)
                )
                finished = self._finish_pool.submit(
                    self._guard, _finish, group.results, slot, finish
                )
                group.unfinished += 1
                in_flight.append((finished, group))
                if slot + 1 == at_once:
                    complete(filling.pop(shape))
            for group in filling.values():
                complete(group)
            filling.clear()
            while in_flight:
                under_way -= await_oldest()
        except Exception as failure:
            raise self._failure or failure from None
        finally:
            # Nobody waits for a group that nobody completes.
            for group in filling.values():
                group.results.set_exception(_AbortedError())

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

    def _run_group(self, group: Group) -> None:
        with self._lock:
            self._queued[group.lane] -= 1
        try:
            results = self._guard(self._infer, group)
        except BaseException as failure:
            group.results.set_exception(failure)
            return
        took = [one.times.device for one in results if isinstance(one, Inferred)]
        # Nobody waits for what may be the last one longer than needed.
        follows = bool(took) and self._queued[group.lane] > 0
        self._handover.give(group.results, results, took[0] if follows else None)

    def _prepare(self, picture: Picture, canvas: Canvas) -> Union[Prepared, SkippedPicture]:
        path = self._job.path(picture)
        start = time.perf_counter()
        sha256 = ""
        try:
            data = read_bytes(path)
            sha256 = digest(data)
            image = decode(data, picture, path)
        except PictureError as failure:
            if not self._job.keep_going:
                raise
            return SkippedPicture(picture, failure.what, sha256)
        picture = sized(picture, image)
        decoded = time.perf_counter()
        geometry = fit(picture, self._job.preprocess)
        self._preprocessor.prepare(image, geometry, canvas)
        times = Times(decode=_ms(start, decoded), preprocess=_ms(decoded, time.perf_counter()))
        return Prepared(picture, sha256, geometry, canvas, times)

    def _infer(self, group: Group) -> List[Result]:
        asked = time.perf_counter()
        prepared = [future.result() for future in group.prepared]
        there = [one for one in prepared if isinstance(one, Prepared)]
        if there:
            found = self._run(group, there, asked)
        self._batches.put(group.batch)
        results: List[Result] = []
        for slot, one in enumerate(prepared):
            if isinstance(one, SkippedPicture):
                results.append(one)
            else:
                outputs, times = found[slot], one.times
                times.h2d, times.device, times.d2h = outputs[2:]
                results.append(Inferred(one.picture, one.sha256, one.geometry, outputs, times))
        return results

    def _run(self, group: Group, there: List[Prepared], asked: float) -> List[Outputs]:
        """Runs the network; returns the outputs of every place in its input."""
        streams, at_once = self._job.runner.streams, self._job.preprocess.pictures
        taken = {id(one.canvas) for one in there}
        for canvas in group.batch.canvases:
            if id(canvas) not in taken:
                # Repeats fill the last group of a shape. Nobody reads what is found in them.
                canvas.repeat(there[0].canvas)
                self.padded += 1
        began = time.perf_counter()
        found = self._runners[group.lane].run_all(group.batch.use_shape(there[0].geometry.shape))
        self.pace.add(began - asked, len(there))
        for one in there:
            one.times.chip = group.lane // streams
            if streams * at_once > 1:
                one.times.began = _ms(self._start, began)
        return found


def _finish(results: Any, slot: int, finish: Callable[[Result], None]) -> None:
    finish(results.result()[slot])


def _ms(start: float, end: float) -> float:
    return (end - start) * 1000.0
