"""Several targets by one command: side by side on different hosts, in turn on the same one.

Each target is run by a `cascadeport all` of its own, so that none can disturb another. Two on one
host would share its processor, and their speeds would be worth nothing.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import PACKAGE, REPOSITORY
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import opened
from cascadeport.config import hosts, targets
from cascadeport.config.hosts import Host
from cascadeport.config.options import Options, table
from cascadeport.core import store
from cascadeport.pipeline.planner import plan
from cascadeport.report import files as comparison_files
from cascadeport.results import collate, printing
from cascadeport.results.comparison import Comparison

# The exit code of a run whose targets ended differently is the worst of theirs.
_WORST_FIRST = (1, 3, 2, 4, 6, 7)
_HERE = "this machine"


@dataclass(frozen=True)
class Ended:
    """How one target's run ended."""

    target: str
    code: int


def names(text: str, options: Options) -> tuple[str, ...]:
    """The targets of a list, separated by spaces or commas, each once.

    Raises:
        CascadeportError: One of them does not exist, or no target was named.
    """
    found = tuple(dict.fromkeys(text.replace(",", " ").split()))
    known = targets.load(options.targets, backends.row)
    for name in found:
        targets.find(name, known)
    if not found:
        raise CascadeportError("--targets names no target.", next="For example --targets '310 T4'.")
    return found


def by_host(found: Sequence[str], options: Options) -> dict[str, list[str]]:
    """The targets that share a host, by its address."""
    known = targets.load(options.targets, backends.row)
    rows = hosts.load(REPOSITORY / hosts.FILE)
    groups: dict[str, list[str]] = {}
    for name in found:
        host = Host()
        if (options.engine or known[name].engine) == "docker":
            host = hosts.find(name, rows)
        groups.setdefault(_HERE if host.local else host.host, []).append(name)
    return groups


def command_line(options: Options, target: str) -> list[str]:
    """`cascadeport all` of one target with these options."""
    own = table.words(replace(options, target=target))
    return [sys.executable, str(PACKAGE), "all", *own]


def run(
    found: Sequence[str], options: Options, reporter: Reporter, more: Sequence[str] = ()
) -> int:
    """Runs the targets and returns the worst of their exit codes.

    A target that fails does not stop the others.

    Args:
        more: Words for each command line that are no options of a run.
    """
    runs = _Runs(options, reporter, more)
    groups = by_host(found, options)
    for host, members in groups.items():
        reporter.line("targets", f"{', '.join(members)} on {host}")
    with ThreadPoolExecutor(len(groups)) as pool:
        waiting = [pool.submit(runs.in_turn, members) for members in groups.values()]
        try:
            ended = [one for each in waiting for one in each.result()]
        except BaseException:
            runs.stop()
            raise
    for comparison in compared(found, options, reporter):
        printing.show(comparison)
    for one in ended:
        if one.code:
            reporter.line("failed", f"{one.target}: exit code {one.code}", "bold red")
    codes = {one.code for one in ended}
    return next((code for code in _WORST_FIRST if code in codes), max(codes))


def compared(found: Sequence[str], options: Options, reporter: Reporter) -> Iterator[Comparison]:
    """The comparisons of the targets, computed again: one for each folder that has results.

    Targets share one unless each runs its own default model.
    """
    done: set[Path] = set()
    for name in found:
        own = replace(options, target=name)
        # What is wrong with a target was said when it ran.
        with contextlib.suppress(CascadeportError), opened(own, reporter) as context:
            made = plan(context)
            if made.folder in done or not (made.folder / comparison_files.NAME).exists():
                continue
            done.add(made.folder)
            with store.locked(made.folder, wait=True):
                known = collate.known(made, context)
                table = comparison_files.update(made, context, known)
            yield table


class _Runs:
    """The runs under way, and those that have ended."""

    def __init__(self, options: Options, reporter: Reporter, more: Sequence[str]) -> None:
        self._options = options
        self._more = more
        self._reporter = reporter
        self._lock = Lock()
        self._processes: list[subprocess.Popen[str]] = []
        self._stopped = False

    def in_turn(self, members: Sequence[str]) -> list[Ended]:
        """Runs the targets of one host, one after the other."""
        return [self._one(name) for name in members if not self._stopped]

    def stop(self) -> None:
        """Ends what runs, as SIGTERM ends a single run: finished stages are kept."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)

    def _one(self, name: str) -> Ended:
        with self._lock:
            if self._stopped:
                return Ended(name, 130)
            process = subprocess.Popen(
                [*command_line(self._options, name), *self._more],
                # Its output is read here as UTF-8, whatever this terminal is.
                env={**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"},
                # Its table is printed once, when all have ended.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                # Ctrl-C reaches this process alone, which then ends each run once.
                start_new_session=True,
            )
            self._processes.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            self._reporter.line(name, line.rstrip("\n"))
        return Ended(name, process.wait())
