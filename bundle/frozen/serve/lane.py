"""A device and its network: loaded, proven by the golden pictures, lost, and loaded again."""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any, Callable, List, Optional

import numpy as np

from bundle.errors import BundleError
from bundle.frozen import console
from bundle.frozen.golden import (
    Golden,
    Walk,
    device_problems,
    pictures_path,
    rows_difference,
)
from bundle.frozen.layout import Frozen
from bundle.frozen.serve.work import Item, NotReadyError
from bundle.job import Job
from bundle.picture import read_bytes
from bundle.preprocess import Canvas
from bundle.runners import Outputs, Runner, needs_own_process
from bundle.runners.process import ProcessRunner, runner_nursery

LOADING, READY, LOST, STUCK = "loading", "ready", "lost", "stuck"
# Seconds between two attempts to load a network that was lost, the first and the longest.
_FIRST_RETRY, _LAST_RETRY = 1.0, 30.0
# Seconds after which the golden pictures are looked at again.
_PROVE_EVERY = 600.0

Finish = Callable[[Item, Any], None]


class Lane:
    """One device: a thread that loads the network, runs it, and loads it again after a failure.

    Args:
        frozen: The frozen folder.
        job: The job of this lane.
        golden: The golden pictures.
        prepared: Where items with a filled canvas come from; None ends the thread.
        finish: Called in this thread with an item and its outputs, or an exception.
        load: Loads the networks.
        inputs: The memory of all canvases, for runners in a process of their own.
        device_seconds: How long a picture may take.

    Attributes:
        state: LOADING, READY, LOST or STUCK.
        reason: Why it is not ready.
        losses: How often the device was lost.
    """

    def __init__(
        self,
        frozen: Frozen,
        job: Job,
        golden: List[Golden],
        prepared: queue.Queue,
        finish: Finish,
        load: Callable[[Job], Runner],
        inputs: List[np.ndarray],
        device_seconds: float,
    ) -> None:
        self._frozen = frozen
        self._job = job
        self._golden = golden
        self._prepared = prepared
        self._finish = finish
        self._load = load
        self._canvas = Canvas(job.preprocess)
        self._inputs = inputs + [self._canvas.memory]
        # Now, because there are neither threads nor sockets yet.
        self._nursery = runner_nursery(job, load, self._inputs) if needs_own_process(job) else None
        self._device_seconds = device_seconds
        self._state, self.reason = LOADING, "The network is being loaded."
        self._busy_since: Optional[float] = None
        self._runner: Optional[Runner] = None
        self._relieved: Optional[float] = None
        self._stopping = threading.Event()
        self.losses = 0
        self._thread = threading.Thread(target=self._run, name="lane", daemon=True)

    @property
    def state(self) -> str:
        """The state of this moment."""
        since = self._busy_since
        if since is not None and time.monotonic() - since > self._device_seconds:
            return STUCK
        return self._state

    def relieve(self) -> None:
        """If the device is stuck, ends the runtime's process, if it has one of its own."""
        runner, since = self._runner, self._busy_since
        if self.state != STUCK or since == self._relieved:
            return
        self._relieved = since  # once: a process that waits for its driver may not end at all
        if isinstance(runner, ProcessRunner):
            console.note("the device is stuck: its process is ended")
            runner.kill()

    def start(self) -> None:
        """Starts to load the network."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the items before None; `prepared` must get a None per lane."""
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Waits for the thread to end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        wait = _FIRST_RETRY
        while not self._stopping.is_set():
            try:
                runner = self._open()
            except Exception as failure:
                self._lose(failure)
                self._stopping.wait(wait)
                wait = min(2 * wait, _LAST_RETRY)
                continue
            wait = _FIRST_RETRY
            for problem in device_problems(self._frozen, runner):
                console.note("WARNING: {}".format(problem))
            self._state, self.reason = READY, ""
            try:
                if self._serve(runner):
                    return
            finally:
                _close(runner)

    def _open(self) -> Runner:
        """Loads the network, and takes the golden pictures through it."""
        if needs_own_process(self._job):
            runner: Runner = ProcessRunner(self._job, self._load, self._inputs, self._nursery)
        else:
            runner = self._load(self._job)
        self._runner = runner
        try:
            self._prove(runner)
        except Exception:
            _close(runner)
            raise
        return runner

    def _prove(self, runner: Runner) -> None:
        """Raises BundleError if the golden pictures do not come out as they should."""
        walk = Walk(self._job, _Watched(runner, self), self._canvas)
        for one in self._golden:
            path = os.path.join(pictures_path(self._frozen), one.picture.file)
            steps = walk.steps(read_bytes(path), one.picture, path)
            difference = rows_difference(steps.detections, one.steps.detections)
            if difference:
                raise BundleError(
                    "A golden picture does not come out as it should: {}.".format(difference),
                    path,
                    "Run the self-test: it says which part differs.",
                )

    def _serve(self, runner: Runner) -> bool:
        """Runs items until it is told to end (true) or the device is lost (false)."""
        proven = time.monotonic()
        while True:
            due = proven + _PROVE_EVERY - time.monotonic()
            item: Any = None
            try:
                item = self._prepared.get(timeout=max(0.0, due))
            except queue.Empty:
                pass
            else:
                if item is None:
                    return True
                if not self._run_item(runner, item):
                    return False
            if time.monotonic() - proven >= _PROVE_EVERY:
                try:
                    self._prove(runner)
                except Exception as failure:
                    self._lose(failure)
                    return False
                proven = time.monotonic()

    def _run_item(self, runner: Runner, item: Item) -> bool:
        """Runs one item; returns whether the device is still there."""
        try:
            item.check_deadline()
        except Exception as late:
            self._finish(item, late)
            return True
        try:
            outputs = _Watched(runner, self).run(item.canvas.array)  # type: ignore[union-attr]
        except Exception as failure:
            return self._survives(runner, item, failure)
        self._finish(item, outputs)
        return True

    def _survives(self, runner: Runner, item: Item, failure: Exception) -> bool:
        """After a failure, the golden pictures tell whether it was the device or the picture."""
        try:
            self._prove(runner)
        except Exception:
            self._lose(failure)
            self._finish(item, NotReadyError(self.reason))
            return False
        self._finish(item, failure)
        return True

    def _lose(self, failure: Exception) -> None:
        self.losses += self._state == READY
        self._state = LOST
        what = failure.what if isinstance(failure, BundleError) else repr(failure)
        self.reason = "The device is lost: {}".format(what)


class _Watched(Runner):
    """A runner of a lane that notes since when it is busy."""

    def __init__(self, runner: Runner, lane: Lane) -> None:
        self._runner = runner
        self._lane = lane

    def run(self, batch: np.ndarray) -> Outputs:
        self._lane._busy_since = time.monotonic()
        try:
            return self._runner.run(batch)
        finally:
            self._lane._busy_since = None


def _close(runner: Runner) -> None:
    try:
        runner.close()
    except Exception as failure:
        # It is lost anyway; the next attempt to load it will tell.
        console.note("closing the network failed: {}".format(failure))
