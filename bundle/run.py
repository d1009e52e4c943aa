"""A job from its file to its results: warm-up, the scored pass, the repeats."""

from __future__ import annotations

import itertools
import os
import time
from typing import Any, Callable, Dict, List, Sequence, Tuple, Union

from bundle import events
from bundle.digest import file_digest
from bundle.draw import draw_pictures
from bundle.environment import environment
from bundle.errors import BundleError
from bundle.files import JsonRows, Lines, make_folder, write_json
from bundle.geometry import fit
from bundle.job import Job, Network, Picture, Shape
from bundle.measure import HEADER, Pass
from bundle.picture import Skipped
from bundle.postprocess import Detections, check_outputs, coco_rows, locate
from bundle.record import NAME, record, remove_record
from bundle.runners import Runner, open_runner
from bundle.stream import Inferred, Stream

Found = Tuple[Picture, Detections]


def run(job: Job, out: str, load: Callable[[Job], Runner] = open_runner) -> Dict[str, Any]:
    """Runs a job and leaves its results in the folder `out` (docs/architecture.md).

    Args:
        job: The job.
        out: The folder of the results.
        load: Loads the networks.

    Returns:
        What run.json holds.

    Raises:
        BundleError: Something failed. There is no run.json then.
    """
    make_folder(out)
    remove_record(out)
    for network in job.runner.networks:
        check_network_files(network)
    with Stream(job, load) as stream, Lines(os.path.join(out, "times.csv"), HEADER) as times:
        warmup = _warm_up(job, stream)
        scored, skipped, found = _score(job, stream, times, out)
        passes = [scored] + _repeat(job, stream, times)
        where = environment(job, stream.runner)
    # After the measured passes, so that it costs them nothing.
    draw_pictures(job, found, out)
    result = record(job, where, passes, scored.pictures, skipped, warmup)
    write_json(os.path.join(out, NAME), result)
    return result


def check_network_files(network: Network) -> None:
    """Holds a network's file against the digest that the job has.

    Raises:
        BundleError: It is another file, or cannot be read.
    """
    try:
        digest = file_digest(network.path)
    except OSError as failure:
        raise BundleError(
            "The network cannot be read: {}.".format(failure.strerror or failure),
            network.path,
            "Run the stages that make it.",
        ) from None
    if digest != network.sha256:
        raise BundleError(
            "The network is not the one that the job speaks of: its sha256 is {}, not {}.".format(
                digest, network.sha256
            ),
            network.path,
            "Something changed the file after the job was written: run again.",
        )


def _warm_up(job: Job, stream: Stream) -> int:
    """Passes over the first pictures of every shape, again and again if they are few.

    Nothing is recorded.
    """
    if not job.warmup:
        return 0
    by_shape: Dict[Shape, List[Picture]] = {}
    for picture in job.pictures:
        by_shape.setdefault(fit(picture, job.preprocess).shape, []).append(picture)
    progress = events.Progress("warmup", job.warmup * len(by_shape))
    used: List[Picture] = []

    def conclude(result: Union[Inferred, Skipped]) -> None:
        if isinstance(result, Inferred):
            _detections(job, result)
            used.append(result.picture)
        progress.step()

    for pictures in by_shape.values():
        stream.run(itertools.islice(itertools.cycle(pictures), job.warmup), conclude)
    return len(used)


def _score(
    job: Job, stream: Stream, times: Lines, out: str
) -> Tuple[Pass, List[Skipped], List[Found]]:
    """The pass whose detections are scored and whose times are told: one and the same."""
    skipped: List[Skipped] = []
    drawable: List[Found] = []
    geometry_path = os.path.join(out, "geometry.jsonl")
    with JsonRows(os.path.join(out, "detections.json")) as rows, Lines(geometry_path) as geometry:

        def keep(result: Inferred, found: Detections) -> None:
            rows.write(coco_rows(found, result.picture.id, job))
            geometry.write(result.geometry.to_line() + "\n")
            if len(drawable) < job.draw:
                drawable.append((result.picture, found))

        progress = events.Progress("scored", len(job.pictures))
        scored = _timed(job, stream, times, 1, job.pictures, progress, keep, skipped.append)
    return scored, skipped, drawable


def _repeat(job: Job, stream: Stream, times: Lines) -> List[Pass]:
    """The further passes over the first pictures, for the spread. Their results are not kept."""
    subset = job.pictures[: job.repeat_pictures]
    passes = []
    for number in range(2, job.repeats + 1):
        progress = events.Progress("repeat {}/{}".format(number, job.repeats), len(subset))
        passes.append(
            _timed(
                job, stream, times, number, subset, progress, lambda *one: None, lambda one: None
            )
        )
    return passes


def _timed(
    job: Job,
    stream: Stream,
    times: Lines,
    number: int,
    pictures: Sequence[Picture],
    progress: events.Progress,
    keep: Callable[[Inferred, Detections], None],
    skip: Callable[[Skipped], None],
) -> Pass:
    measured = Pass()
    start = time.perf_counter()

    def conclude(result: Union[Inferred, Skipped]) -> None:
        if isinstance(result, Skipped):
            skip(result)
        else:
            begun = time.perf_counter()
            keep(result, _detections(job, result))
            end = time.perf_counter()
            result.times.postprocess = (end - begun) * 1000.0
            measured.add(result.times, end - start)
            times.write(result.times.row(number, result.picture.id))
        progress.step()

    stream.run(pictures, conclude)
    return measured


def _detections(job: Job, result: Inferred) -> Detections:
    boxes, labels = result.outputs.boxes, result.outputs.labels
    check_outputs(boxes, labels, job, "picture {}".format(job.path(result.picture)))
    return locate(boxes, labels, result.geometry, job)
