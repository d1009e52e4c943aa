"""Hands a network's results on while the network is at its next picture.

Whoever wakes a thread may lose its processor to it, and a thread that has computed for a long time
loses it first, on a busy machine to somebody else's process and for milliseconds. So the thread of
a slow network wakes nobody between two pictures: it leaves its results here and goes on, and
another thread, which looks from time to time, wakes those who wait for them.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import Any, Deque, Optional, Tuple

# A network that is faster than this hands its results on itself.
SLOW_MS = 10.0
# How often is looked, as a part of a network's time, and within which limits.
_PART, _SHORTEST_S, _LONGEST_S = 0.125, 0.002, 0.02


class Handover:
    """Results on their way from network threads to whoever waits for them."""

    def __init__(self) -> None:
        self._ready: Deque[Tuple[Future[Any], Any]] = deque()
        self._over = threading.Event()
        self._pause_s = _SHORTEST_S
        self._thread: Optional[threading.Thread] = None
        self._lock = threading.Lock()

    def give(self, future: Future[Any], result: Any, took_ms: Optional[float]) -> None:
        """Hands a result on soon, or at once if the network is fast.

        Args:
            future: What is waited for.
            result: Its result.
            took_ms: How long the network took; None: nothing follows, or it is not known.
        """
        if took_ms is None or took_ms < SLOW_MS or self._over.is_set():
            future.set_result(result)
            return
        self._pause_s = min(max(_PART * took_ms / 1000.0, _SHORTEST_S), _LONGEST_S)
        self._ready.append((future, result))
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="handover", daemon=True)
                    self._thread.start()

    def close(self) -> None:
        """Hands on what is left, and ends."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._deliver()

    def _run(self) -> None:
        while not self._over.wait(self._pause_s):
            self._deliver()

    def _deliver(self) -> None:
        while self._ready:
            future, result = self._ready.popleft()
            future.set_result(result)
