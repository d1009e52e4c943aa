"""Counts and times in the text format of Prometheus.

https://prometheus.io/docs/instrumenting/exposition_formats/ describes the format.
"""

from __future__ import annotations

import math
import threading
from typing import Dict, Iterable, List, Sequence, Tuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PREFIX = "cascadeport_"
Labels = Tuple[Tuple[str, str], ...]


class Histogram:
    """Seconds, counted by their upper limits."""

    def __init__(self, name: str, help: str) -> None:
        self._name = _PREFIX + name
        self._help = help
        self._lock = threading.Lock()
        self._counts = [0] * (len(_SECONDS) + 1)
        self.sum = 0.0
        self.count = 0

    def observe(self, seconds: float) -> None:
        """Counts one duration."""
        index = next((i for i, limit in enumerate(_SECONDS) if seconds <= limit), len(_SECONDS))
        with self._lock:
            self._counts[index] += 1
            self.sum += seconds
            self.count += 1

    def lines(self) -> List[str]:
        """Its lines of text."""
        with self._lock:
            counts, total, count = list(self._counts), self.sum, self.count
        lines = _head(self._name, self._help, "histogram")
        below = 0
        for limit, number in zip([*map(repr, _SECONDS), "+Inf"], counts):
            below += number
            lines.append('{}_bucket{{le="{}"}} {}'.format(self._name, limit, below))
        return lines + [
            "{}_sum {!r}".format(self._name, total),
            "{}_count {}".format(self._name, count),
        ]


class Counter:
    """A number that only grows, for each combination of labels."""

    def __init__(self, name: str, help: str, labels: Sequence[str] = ()) -> None:
        self._name = _PREFIX + name
        self._help = help
        self._labels = tuple(labels)
        self._lock = threading.Lock()
        self._values: Dict[Tuple[str, ...], int] = {} if labels else {(): 0}

    def add(self, *labels: str, count: int = 1) -> None:
        """Counts."""
        with self._lock:
            self._values[labels] = self._values.get(labels, 0) + count

    def lines(self) -> List[str]:
        """Its lines of text."""
        with self._lock:
            values = sorted(self._values.items())
        return _head(self._name, self._help, "counter") + [
            "{}{} {}".format(self._name, _braces(zip(self._labels, labels)), value)
            for labels, value in values
        ]


class Metrics:
    """All counts and times of a server."""

    def __init__(self) -> None:
        self.requests = Counter("requests_total", "Answered requests.", ("route", "code"))
        self.pictures = Counter("pictures_total", "Pictures that were looked at.")
        self.detections = Counter("detections_total", "Detections in them.")
        self.waited = Histogram("wait_seconds", "From acceptance until a request is prepared.")
        self.prepared = Histogram("prepare_seconds", "Decoding and preprocessing.")
        self.device = Histogram("device_seconds", "The network itself.")
        self.total = Histogram("total_seconds", "From acceptance to the result.")

    def seconds_for(self, requests: int, lanes: int) -> int:
        """Whole seconds, at least 1, that so many requests take on so many devices."""
        mean = self.device.sum / self.device.count if self.device.count else 0.0
        return max(1, math.ceil(requests * mean / lanes))

    def text(self, gauges: Sequence[Tuple[str, str, float]], info: Dict[str, str]) -> str:
        """Everything as text.

        Args:
            gauges: Name, help and value of what is true now.
            info: What does not change, as labels of `cascadeport_info`.
        """
        lines: List[str] = []
        for one in (self.requests, self.pictures, self.detections):
            lines += one.lines()
        for each in (self.waited, self.prepared, self.device, self.total):
            lines += each.lines()
        for name, text, value in gauges:
            lines += _head(_PREFIX + name, text, "gauge")
            lines.append("{}{} {!r}".format(_PREFIX, name, value))
        lines += _head(_PREFIX + "info", "What this server detects with.", "gauge")
        lines.append("{}info{} 1".format(_PREFIX, _braces(info.items())))
        return "\n".join(lines) + "\n"


def _head(name: str, help: str, kind: str) -> List[str]:
    return ["# HELP {} {}".format(name, help), "# TYPE {} {}".format(name, kind)]


def _braces(labels: Iterable[Tuple[str, str]]) -> str:
    pairs = ['{}="{}"'.format(name, _escape(value)) for name, value in labels]
    return "{{{}}}".format(",".join(pairs)) if pairs else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
