"""What the tasks of a swarm's services print, wherever they run: a log, progress, errors."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import docker.errors
import requests.exceptions

from cascadeport.core.follow import parse_event
from cascadeport.core.task import Event

if TYPE_CHECKING:
    import docker

# A line begins with where it is from, as `key=value,key=value`.
_DETAILS = re.compile(rb"(\S*com\.docker\.swarm\.task\.id=\S*) (.*)\n?\Z", re.DOTALL)
_TASK = re.compile(r"com\.docker\.swarm\.task\.id=([0-9a-z]+)")
_NODE = re.compile(r"com\.docker\.swarm\.node\.id=([0-9a-z]+)")
_TAIL = 3
# A line may reach the manager a moment after the end of its task does.
_LATE_S = 3.0
_SCORED = "scored"


class Logs:
    """The logs of services, read by a thread each; they are only news: nothing depends on them.

    Args:
        connect: Opens a connection to the manager.
        path: Receives every line, with the name of its node.

    Attributes:
        names: The nodes' names by id.
        lines: How many lines there were.
    """

    def __init__(self, connect: Callable[[], docker.DockerClient], path: Path) -> None:
        self._connect = connect
        self._file = path.open("wb")
        self._lock = threading.Lock()
        self._closed = False
        self._clients: list[docker.DockerClient] = []
        self._progress: dict[str, tuple[int, int]] = {}
        self._errors: dict[str, Event] = {}
        self._tails: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=_TAIL))
        self._notes: list[str] = []
        self.names: Mapping[str, str] = {}
        self.lines = 0

    def follow(self, service: str) -> None:
        """Follows the tasks of a service, those that it will have as well."""
        threading.Thread(target=self._follow, args=(service,), daemon=True).start()

    def _follow(self, service: str) -> None:
        with contextlib.suppress(
            docker.errors.DockerException, requests.exceptions.RequestException, OSError, ValueError
        ):
            client = self._connect()
            api: Any = client.api
            api.timeout = None
            with self._lock:
                self._clients.append(client)
            stream = api.service_logs(service, details=True, follow=True, stdout=True, stderr=True)
            for line in stream:
                self._add(line)

    def _add(self, line: bytes) -> None:
        match = _DETAILS.match(line)
        if match is None:
            return
        details, text = match.group(1).decode("ascii", "replace"), match.group(2).rstrip(b"\n")
        task, node = _TASK.search(details), _NODE.search(details)
        name = node.group(1) if node else ""
        name = self.names.get(name, name)
        with self._lock:
            self.lines += 1
            if not self._closed:
                self._file.write(f"{name}: ".encode() + text + b"\n")
                self._file.flush()
            if task is not None:
                self._understand(task.group(1), name, text)

    def _understand(self, task: str, node: str, text: bytes) -> None:
        event = parse_event(text)
        if event is None:
            self._tails[task].append(text.decode("utf-8", "replace"))
        elif event["event"] == "error":
            self._errors[task] = event
        elif event["event"] == "note":
            self._notes.append(f"{node}: {event.get('text')}")
        elif event["event"] == "progress" and event.get("phase") == _SCORED:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                self._progress[task] = (int(event["done"]), int(event["total"]))

    def notes(self) -> list[str]:
        """What tasks have told the user since the last time."""
        with self._lock:
            found, self._notes = self._notes, []
        return found

    def wait_for_error(self, task: str) -> Mapping[str, Any] | None:
        """The error that a task ended with, if it said one; waits a moment for it."""
        end = time.monotonic() + _LATE_S
        while True:
            with self._lock:
                found = self._errors.get(task)
            if found is not None or time.monotonic() > end:
                return found
            time.sleep(0.1)

    def tail(self, task: str) -> str:
        """The last lines of a task that are no events."""
        with self._lock:
            return " | ".join(self._tails[task]) or "(it printed nothing)"

    def pictures(self, shards: Mapping[str, int], done: set[int], count: int) -> tuple[int, int]:
        """How many pictures are finished, and of how many, as far as tasks have said.

        Args:
            shards: The shards of tasks.
            done: Those that are finished.
            count: How many shards there are.
        """
        best: dict[int, tuple[int, int]] = {}
        with self._lock:
            for task, (finished, total) in self._progress.items():
                shard = shards.get(task)
                if shard is not None:
                    best[shard] = max(best.get(shard, (0, 0)), (finished, total))
        if not best:
            return 0, 0
        # Shards have the same number of pictures, or one less.
        usual = max(total for _, total in best.values())
        totals = [best[shard][1] if shard in best else usual for shard in range(1, count + 1)]
        finished = sum(totals[shard - 1] for shard in done)
        return finished + sum(best[shard][0] for shard in set(best) - done), sum(totals)

    def close(self) -> None:
        """Ends all connections and the log."""
        with self._lock:
            clients, self._clients = self._clients, []
            self._closed = True
            self._file.close()
        for client in clients:
            with contextlib.suppress(Exception):
                client.close()
