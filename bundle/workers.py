"""How many workers decode and preprocess: as many as keep the device busy, and never more.

A pass begins with one. Where the device waits for pictures, another worker is tried; it stays if
more pictures per second come of it, else it goes again and that was the last one. On a processor,
workers and network share the cores, so that a worker that takes more from the network than it gives
does not stay.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from concurrent.futures import Future
from typing import Any, Callable, Dict, List, Optional

# A device that waits for less than this part of the time is busy: more workers could not gain more.
STARVED = 0.02
# What another worker must gain to stay.
GAIN = 1.03
# Pictures of each lane after which it is decided: enough to see a queue of pictures run dry.
WINDOW = 8
# At the end of a pass fewer will do: a slow network's warm-up has no more.
_FEWEST = 3


def cores() -> int:
    """How many processors this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        return os.cpu_count() or 1


class Workers:
    """Threads that work on tasks in the order in which they were given; there may be more later."""

    def __init__(self, count: int, name: str) -> None:
        self._name = name
        self._tasks: queue.Queue[Any] = queue.Queue()
        self._threads: List[threading.Thread] = []
        self.count = 0
        for _ in range(count):
            self.add()

    def add(self) -> None:
        """One thread more."""
        self.count += 1
        name = "{}_{}".format(self._name, len(self._threads))
        thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def remove(self) -> None:
        """One thread less, after the tasks that were given before."""
        self.count -= 1
        self._tasks.put(None)

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Gives a task."""
        future: Future[Any] = Future()
        self._tasks.put((future, work, arguments))
        return future

    def shutdown(self, wait: bool) -> None:
        """Ends all threads after the tasks that were given before."""
        for _ in range(self.count):
            self.remove()
        for thread in self._threads if wait else ():
            thread.join()

    def _work(self) -> None:
        while True:
            task = self._tasks.get()
            if task is None:
                return
            future, work, arguments = task
            try:
                future.set_result(work(*arguments))
            except BaseException as failure:
                future.set_exception(failure)
            # Else it would keep its picture until the next task.
            del task, future, arguments


class Pace:
    """Decides, from what a device waits, how many workers there are.

    Args:
        limit: The most there may be.
        lanes: How many threads run networks.
        at_once: How many pictures a network takes at once.

    Attributes:
        workers: How many there should be now.
        settled: Whether no more are tried.
        window: After how many pictures it decides.
        rounds: What was seen: workers, pictures per second, and the part of the time in which the
            device waited.
    """

    def __init__(self, limit: int, lanes: int, at_once: int = 1) -> None:
        self.workers = 1
        self.settled = limit <= 1
        self.rounds: List[Dict[str, float]] = []
        self.limit = limit
        self.window = WINDOW * lanes * at_once
        self._lanes = lanes
        self._lock = threading.Lock()
        self._before: Optional[float] = None
        self.restart(True)

    def restart(self, decides: bool) -> None:
        """A pass begins: time that passed since the last one was nobody's waiting.

        Args:
            decides: Whether it may change the number of workers; else it is only watched.
        """
        with self._lock:
            self._decides = decides
            self._skip = self._lanes
            self._began = self._now = 0.0
            self._pictures = 0
            self._waited = 0.0

    def add(self, waited: float, pictures: int = 1, now: Optional[float] = None) -> None:
        """A lane waited so many seconds for pictures, and is done with them now."""
        now = time.perf_counter() if now is None else now
        with self._lock:
            if self._skip:
                # Each lane's first picture: everything waits for it.
                self._skip -= 1
                self._began = now
                return
            self._pictures += pictures
            self._waited += waited
            self._now = now
            if self._decides and self._pictures >= self.window:
                self._decide()

    def decide(self) -> bool:
        """A pass is over: decides by what there is; returns whether another one would tell more."""
        with self._lock:
            if self._pictures >= _FEWEST:
                self._decide()
            return self._before is not None

    @property
    def starved(self) -> Optional[float]:
        """The part of the time in which the device waited, since the last decision."""
        seconds = self._now - self._began
        return min(1.0, self._waited / (seconds * self._lanes)) if seconds > 0 else None

    def _decide(self) -> None:
        seconds = self._now - self._began
        starved = self.starved or 0.0
        rate = self._pictures / seconds if seconds > 0 else 0.0
        self.rounds.append(
            {
                "workers": self.workers,
                "pictures": self._pictures,
                "ips": round(rate, 3),
                "starved": round(starved, 4),
            }
        )
        self._pictures, self._waited, self._began = 0, 0.0, self._now
        if self.settled:
            return
        if self._before is not None and rate < GAIN * self._before:
            self.workers -= 1
            self._before = None
            self.settled = True
        elif starved > STARVED and self.workers < self.limit:
            self.workers += 1
            self._before = rate
            self._skip = self._lanes
        else:
            self._before = None
            self.settled = starved > STARVED
