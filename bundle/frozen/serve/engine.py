"""From accepted work to results: a bounded queue, threads that prepare, and the device's lanes.

Each piece of work is a batch of its own, and takes the same path as in `infer`: what is found in a
picture does not depend on what else is being asked.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Callable, List

import cv2

from bundle.errors import PictureError
from bundle.frozen.golden import read_expected
from bundle.frozen.journal import found_detections
from bundle.frozen.layout import Frozen
from bundle.frozen.serve.lane import LOADING, LOST, READY, STUCK, Lane
from bundle.frozen.serve.limits import Limits
from bundle.frozen.serve.metrics import Metrics
from bundle.frozen.serve.work import (
    FullError,
    Item,
    LateError,
    NotReadyError,
    PictureResult,
    PictureWork,
    Result,
    TensorResult,
    Work,
)
from bundle.geometry import fit
from bundle.header import HeaderError, read_header
from bundle.job import Job, Picture
from bundle.picture import decode, digest, sized
from bundle.postprocess import check_outputs, locate
from bundle.preprocess import Canvas, Preprocessor
from bundle.run import check_network_files
from bundle.runners import Outputs, Runner, open_runner

_NAME = "the picture"
_ADVICE = "Send another picture."
# Encoders write about ten; each color of each of the 64 frequencies in its own would be 192.
_START_OF_SCAN, _MAX_SCANS = b"\xff\xda", 200


class Engine:
    """Everything between a request and its result.

    Args:
        frozen: The frozen folder.
        limits: The limits.
        metrics: Where times are noted.
        load: Loads the networks.
    """

    def __init__(
        self,
        frozen: Frozen,
        limits: Limits,
        metrics: Metrics,
        load: Callable[[Job], Runner] = open_runner,
    ) -> None:
        cv2.setNumThreads(1)  # as in the streaming pass
        self._frozen = frozen
        self._job = frozen.job
        self._limits = limits
        self._metrics = metrics
        self._preprocessor = Preprocessor(self._job.preprocess)
        self._lock = threading.Lock()
        self._accepted = 0
        self._stopped = False
        self._idle = threading.Condition(self._lock)
        # A request is answered by all threads together, whatever a pass over many pictures does.
        lanes = [replace(lane, streams=1) for lane in self._job.runner.lanes]
        depth = self._job.workers + 2 * len(lanes) + 1
        canvases = [Canvas(self._job.preprocess) for _ in range(depth)]
        self._canvases: queue.LifoQueue = queue.LifoQueue()
        for canvas in canvases:
            self._canvases.put(canvas)
        self._prepared: queue.Queue = queue.Queue()
        self._prepare_pool = ThreadPoolExecutor(self._job.workers, "prepare")
        self._finish_pool = ThreadPoolExecutor(1, "finish")
        for network in self._job.runner.networks:
            check_network_files(network)
        golden = read_expected(frozen)
        inputs = [canvas.memory for canvas in canvases]
        self.lanes: List[Lane] = [
            Lane(
                frozen,
                replace(self._job, runner=lane),
                golden,
                self._prepared,
                self._take,
                load,
                inputs,
                limits.device_seconds,
            )
            for lane in lanes
        ]

    def start(self) -> None:
        """Starts to load the networks; `state` tells when they are."""
        for lane in self.lanes:
            lane.start()

    @property
    def state(self) -> str:
        """The best state of all lanes: one device that is ready is enough."""
        states = {lane.state for lane in self.lanes}
        return next(one for one in (READY, LOADING, STUCK, LOST) if one in states)

    @property
    def reason(self) -> str:
        """Why the engine is not ready; empty if it is."""
        state = self.state
        if state == STUCK:
            return "The device has not answered for {:g} seconds.".format(
                self._limits.device_seconds
            )
        return next(lane.reason for lane in self.lanes if lane.state == state)

    @property
    def waiting(self) -> int:
        """How many requests are accepted and not answered yet."""
        return self._accepted

    @property
    def retry_after(self) -> int:
        """Seconds after which a full queue will have moved on: at least 1."""
        return self._metrics.seconds_for(self._accepted, len(self.lanes))

    def check(self) -> None:
        """Raises what `submit` would raise now."""
        if self._stopped or self.state != READY:
            raise NotReadyError(self.reason or "The server stops.")
        if self._accepted >= self._limits.queue:
            raise FullError

    def submit(self, work: Work) -> Any:
        """Accepts work.

        Returns:
            A concurrent future of the result. Its exceptions are PictureError, BundleError,
            NotReadyError and LateError.

        Raises:
            NotReadyError: There is no device.
            FullError: The queue is full.
        """
        with self._lock:
            self.check()
            self._accepted += 1
        item = Item(work, time.monotonic() + self._limits.answer_seconds)
        self._prepare_pool.submit(self._prepare, item)
        return item.future

    def stop(self, seconds: float) -> bool:
        """Finishes what was accepted, and ends; returns whether everything was finished."""
        with self._idle:
            self._stopped = True
            finished = self._idle.wait_for(lambda: self._accepted == 0, seconds)
        for lane in self.lanes:
            lane.stop()
            self._prepared.put(None)
        if finished:
            for lane in self.lanes:
                lane.join(seconds)
        return finished

    def _prepare(self, item: Item) -> None:
        try:
            item.check_deadline()
            # Whoever has none left waits here, and what is not prepared takes no memory.
            canvas = self._free_canvas(item)
            item.canvas = canvas
            start = time.monotonic()
            self._metrics.waited.observe(start - item.accepted)
            if isinstance(item.work, PictureWork):
                self._fill(item, item.work, canvas)
            else:
                shape = self._job.preprocess.shape_of(item.work.array.shape)
                assert shape is not None  # the protocol has looked
                canvas.use_shape(shape)
                canvas.array[...] = item.work.array
                canvas.region = None
            self._metrics.prepared.observe(time.monotonic() - start)
            if self.state != READY:
                raise NotReadyError(self.reason)
            self._prepared.put(item)
            if self.state != READY:
                self._refuse_prepared()
        except Exception as failure:
            self._end(item, failure)

    def _free_canvas(self, item: Item) -> Canvas:
        try:
            return self._canvases.get(timeout=max(0.0, item.deadline - time.monotonic()))
        except queue.Empty:
            raise LateError from None

    def _fill(self, item: Item, work: PictureWork, canvas: Canvas) -> None:
        picture = Picture(0, _NAME, 0, 0)
        self._check_costs(work.data)
        image = decode(work.data, picture, _NAME)
        item.sha256 = digest(work.data)
        item.geometry = fit(sized(picture, image), self._job.preprocess)
        self._preprocessor.prepare(image, item.geometry, canvas)

    def _check_costs(self, data: bytes) -> None:
        """Refuses a picture that would take too much memory or time, by its header."""
        if not data:
            raise PictureError("The picture is empty: 0 bytes.", _NAME, _ADVICE)
        try:
            header = read_header(data)
        except HeaderError:
            return  # `decode` says what is wrong
        if header is None:
            return
        if header.width * header.height > self._limits.pixels:
            raise PictureError(
                "The picture has {}x{} pixels; at most {} are accepted.".format(
                    header.width, header.height, self._limits.pixels
                ),
                _NAME,
                _ADVICE,
            )
        # Every scan of a progressive JPEG goes over all pixels again, and may have no more than a
        # few bytes.
        if header.format == "JPEG" and data.count(_START_OF_SCAN, header.scan) > _MAX_SCANS:
            raise PictureError(
                "The picture is a JPEG of more than {} scans.".format(_MAX_SCANS), _NAME, _ADVICE
            )

    def _take(self, item: Item, outputs: Any) -> None:
        """From a lane: outputs, or an exception."""
        if isinstance(outputs, Outputs):
            if item.canvas is not None:
                self._canvases.put(item.canvas)
                item.canvas = None
            self._metrics.device.observe((outputs.device_ms or 0.0) / 1000.0)
            self._finish_pool.submit(self._finish, item, outputs)
        else:
            self._end(item, outputs)
        if self.state != READY:
            self._refuse_prepared()

    def _refuse_prepared(self) -> None:
        """Answers what waits for a device that is lost."""
        while True:
            try:
                item = self._prepared.get_nowait()
            except queue.Empty:
                return
            if item is None:
                self._prepared.put(None)
                return
            self._end(item, NotReadyError(self.reason))

    def _finish(self, item: Item, outputs: Outputs) -> None:
        try:
            check_outputs(outputs.boxes, outputs.labels, self._job, _NAME)
            self._end(item, self._result(item, outputs))
        except Exception as failure:
            self._end(item, failure)

    def _result(self, item: Item, outputs: Outputs) -> Result:
        if item.geometry is None:
            return TensorResult(outputs.boxes, outputs.labels)
        found = locate(outputs.boxes, outputs.labels, item.geometry, self._job)
        return PictureResult(
            item.geometry.width,
            item.geometry.height,
            item.sha256,
            found_detections(found, self._job),
        )

    def _end(self, item: Item, result: Any) -> None:
        if item.canvas is not None:
            self._canvases.put(item.canvas)
            item.canvas = None
        with self._idle:
            self._accepted -= 1
            self._idle.notify_all()
        if isinstance(result, Exception):
            item.future.set_exception(result)
        else:
            self._metrics.total.observe(time.monotonic() - item.accepted)
            item.future.set_result(result)
