"""Runs a job: warm-up, the scored pass, the repeats, the results."""

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
from bundle.external_data import external_files
from bundle.files import JsonRows, Lines, make_folder, write_json
from bundle.geometry import fit
from bundle.job import Job, NetworkFile, Picture, Shape
from bundle.measure import HEADER, Pass
from bundle.picture import DIGESTS, SkippedPicture, digest_line
from bundle.postprocess import Detections, check_outputs, coco_rows, locate
from bundle.record import NAME, record, remove_record
from bundle.runners import Runner, open_runner
from bundle.stream import Inferred, Stream

Detected = Tuple[Picture, Detections]


def run(job: Job, out: str, load: Callable[[Job], Runner] = open_runner) -> Dict[str, Any]:
    """Runs a job and writes its results into the folder `out` (docs/architecture.md).

    Args:
        job: The job.
        out: The folder for the results.
        load: Loads the networks.

    Returns:
        The content of run.json.

    Raises:
        BundleError: Something failed. Then there is no run.json.
    """
    make_folder(out)
    remove_record(out)
    for network in job.runner.networks:
        check_network_files(network)
    with Stream(job, load) as stream, Lines(os.path.join(out, "times.csv"), HEADER) as times:
        warmup = _warm_up(job, stream)
        scored, skipped, to_draw = _score(job, stream, times, out)
        passes = [scored] + _repeat(job, stream, times)
        conditions = environment(job, stream.runner)
    # Only now, so that drawing does not slow down the timed passes.
    draw_pictures(job, to_draw, out)
    result = record(job, conditions, passes, scored.pictures, skipped, warmup)
    write_json(os.path.join(out, NAME), result)
    return result


def check_network_files(network: NetworkFile) -> None:
    """Compares a network's files with the digests in the job.

    Raises:
        BundleError: A file is another one or cannot be read, or the network has tensors in a file
            that the job has no digest of.
    """
    _check_digest("The network", network.path, network.sha256)
    for file in network.files:
        _check_digest("A file of the network's tensors", file.path, file.sha256)
    folder = os.path.dirname(network.path)
    known = {os.path.abspath(file.path) for file in network.files}
    unknown = [
        name or "a file without a name"
        for name in external_files(network.path)
        if not name or os.path.abspath(os.path.join(folder, name)) not in known
    ]
    if unknown:
        raise BundleError(
            "The network has tensors in other files, which the job has no digests of: {}.".format(
                ", ".join(unknown)
            ),
            network.path,
            "Save the network with its tensors in one file, or list these files with their "
            "digests in the job's `networks`.",
        )


def _check_digest(name: str, path: str, expected: str) -> None:
    try:
        digest = file_digest(path)
    except OSError as failure:
        raise BundleError(
            "{} cannot be read: {}.".format(name, failure.strerror or failure),
            path,
            "Run the stages that make it.",
        ) from None
    if digest != expected:
        raise BundleError(
            "{} is not the one in the job: its sha256 is {}, not {}.".format(
                name, digest, expected
            ),
            path,
            "The file has changed since the job was written: run again.",
        )


def _warm_up(job: Job, stream: Stream) -> int:
    """Runs the first `job.warmup` pictures of every shape, repeatedly if there are fewer.

    Nothing is recorded.

    Returns:
        How many pictures ran.
    """
    if not job.warmup:
        return 0
    by_shape: Dict[Shape, List[Picture]] = {}
    for picture in job.pictures:
        by_shape.setdefault(fit(picture, job.preprocess).shape, []).append(picture)
    progress = events.Progress("warmup", job.warmup * len(by_shape))
    used: List[Picture] = []

    def finish(result: Union[Inferred, SkippedPicture]) -> None:
        if isinstance(result, Inferred):
            _detections(job, result)
            used.append(result.picture)
        progress.step()

    for pictures in by_shape.values():
        stream.run(itertools.islice(itertools.cycle(pictures), job.warmup), finish)
    return len(used)


def _score(
    job: Job, stream: Stream, times: Lines, out: str
) -> Tuple[Pass, List[SkippedPicture], List[Detected]]:
    """Makes the pass that is both scored and timed."""
    skipped: List[SkippedPicture] = []
    to_draw: List[Detected] = []
    detections_path = os.path.join(out, "detections.json")
    geometry_path = os.path.join(out, "geometry.jsonl")
    digests_path = os.path.join(out, DIGESTS)
    with JsonRows(detections_path) as rows:
        with Lines(geometry_path) as geometry, Lines(digests_path) as digests:

            def keep(result: Inferred, detections: Detections) -> None:
                rows.write(coco_rows(detections, result.picture.id, job))
                geometry.write(result.geometry.to_line() + "\n")
                digests.write(digest_line(result.picture, result.sha256))
                if len(to_draw) < job.draw:
                    to_draw.append((result.picture, detections))

            progress = events.Progress("scored", len(job.pictures))
            scored = _timed_pass(
                job, stream, times, 1, job.pictures, progress, keep, skipped.append
            )
    return scored, skipped, to_draw


def _repeat(job: Job, stream: Stream, times: Lines) -> List[Pass]:
    """Makes the further passes over the first pictures, for the spread. Only times are kept."""
    subset = job.pictures[: job.repeat_pictures]
    passes = []
    for number in range(2, job.repeats + 1):
        progress = events.Progress("repeat {}/{}".format(number, job.repeats), len(subset))
        passes.append(
            _timed_pass(
                job, stream, times, number, subset, progress, lambda *one: None, lambda one: None
            )
        )
    return passes


def _timed_pass(
    job: Job,
    stream: Stream,
    times: Lines,
    number: int,
    pictures: Sequence[Picture],
    progress: events.Progress,
    keep: Callable[[Inferred, Detections], None],
    skip: Callable[[SkippedPicture], None],
) -> Pass:
    measured = Pass()
    start = time.perf_counter()

    def finish(result: Union[Inferred, SkippedPicture]) -> None:
        if isinstance(result, SkippedPicture):
            skip(result)
        else:
            inferred = time.perf_counter()
            keep(result, _detections(job, result))
            end = time.perf_counter()
            result.times.postprocess = (end - inferred) * 1000.0
            measured.add(result.times, end - start)
            times.write(result.times.row(number, result.picture.id, end - start))
        progress.step()

    stream.run(pictures, finish)
    return measured


def _detections(job: Job, result: Inferred) -> Detections:
    boxes, labels = result.outputs.boxes, result.outputs.labels
    check_outputs(boxes, labels, job, "picture {}".format(job.path(result.picture)))
    return locate(boxes, labels, result.geometry, job)
