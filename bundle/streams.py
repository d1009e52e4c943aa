"""How many pictures a processor works on at once, where the job leaves it to the machine.

Each candidate loads the network, warms up, and makes a pass over some pictures. The one with the
most pictures per second wins; of those that are as good within the noise, the one with the fewest
streams, because a picture waits longer the more there are.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Union

from bundle import events
from bundle.group import Inferred
from bundle.job import Job, Picture
from bundle.picture import SkippedPicture
from bundle.runners import Runner
from bundle.stream import Stream

# Fewer streams are taken if they are slower by no more than this.
NOISE = 0.03
# A candidate is measured for so long, and on at least so many pictures for each of its streams.
SECONDS = 3.0
PER_STREAM = 3


class Chosen(NamedTuple):
    """The job with the number that was chosen, and what was measured of every candidate."""

    job: Job
    found: List[Dict[str, Any]]


def candidates(threads: int) -> List[int]:
    """The numbers of streams that are tried: powers of two, and one for each thread."""
    powers = itertools.takewhile(lambda one: one < threads, (2**n for n in itertools.count()))
    return [*powers, threads]


def best(found: List[Dict[str, Any]]) -> int:
    """The number of streams to take, of what was measured."""
    most = max(one["ips"] for one in found)
    return min(int(one["streams"]) for one in found if one["ips"] >= (1 - NOISE) * most)


def choose_streams(job: Job, load: Callable[[Job], Runner]) -> Chosen:
    """Measures every candidate on this machine.

    Raises:
        BundleError: A candidate cannot be loaded or run.
    """
    numbers = candidates(job.runner.threads)
    progress = events.Progress("streams", len(numbers))
    found = []
    for streams in numbers:
        tried = replace(job, runner=replace(job.runner, streams=streams))
        found.append(_measure(tried, load))
        progress.step()
    chosen = best(found)
    return Chosen(replace(job, runner=replace(job.runner, streams=chosen)), found)


def _measure(job: Job, load: Callable[[Job], Runner]) -> Dict[str, Any]:
    streams = job.runner.streams
    least = PER_STREAM * streams
    finished: List[float] = []
    latencies: List[float] = []

    def finish(result: Union[Inferred, SkippedPicture]) -> None:
        finished.append(time.perf_counter())
        if isinstance(result, Inferred) and result.times.device is not None:
            latencies.append(result.times.device)

    def pictures(began: float) -> Iterator[Picture]:
        for number, picture in enumerate(itertools.cycle(job.pictures)):
            if number >= least and time.perf_counter() - began >= SECONDS:
                return
            yield picture

    with Stream(job, load) as stream:
        stream.run(itertools.islice(itertools.cycle(job.pictures), 2 * streams), finish)
        del finished[:], latencies[:]
        began = time.perf_counter()
        stream.run(pictures(began), finish)
        workers = stream.workers
    seconds = finished[-1] - began
    return {
        "streams": streams,
        "workers": workers,
        "pictures": len(finished),
        "ips": round(len(finished) / seconds, 3),
        "latency_ms": round(sum(latencies) / len(latencies), 3) if latencies else None,
    }
