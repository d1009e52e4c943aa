"""Runs a job: warm-up, the scored pass, the repeats, the results."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import replace
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Union

from bundle import events
from bundle.companions import Proof, companions, together
from bundle.conditions import NAME as CONDITIONS
from bundle.conditions import Sampler
from bundle.digest import file_digest
from bundle.draw import draw_pictures
from bundle.environment import environment
from bundle.errors import BundleError
from bundle.external_data import external_files
from bundle.files import JsonRows, Lines, make_folder, write_json
from bundle.geometry import fit
from bundle.group import Inferred
from bundle.job import Job, NetworkFile, Picture, Shape
from bundle.measure import HEADER, OVERLAPPING, Pass
from bundle.picture import DIGESTS, SkippedPicture, digest_line
from bundle.postprocess import Detections, check_outputs, coco_rows, locate
from bundle.power import idle_watts
from bundle.record import NAME, record, remove_record
from bundle.runners import Runner, open_runner
from bundle.stream import Stream
from bundle.streams import choose_streams

Detected = Tuple[Picture, Detections]


def run(
    job: Job,
    out: str,
    load: Callable[[Job], Runner] = open_runner,
    start: Optional[float] = None,
) -> Dict[str, Any]:
    """Runs a job and writes its results into the folder `out` (docs/architecture.md).

    Args:
        job: The job.
        out: The folder for the results.
        load: Loads the networks.
        start: When the work on the job began, by `time.monotonic`: now unless given.

    Returns:
        The content of run.json.

    Raises:
        BundleError: Something failed. Then there is no run.json.
    """
    start = time.monotonic() if start is None else start
    make_folder(out)
    remove_record(out)
    for network in job.runner.networks + job.runner.single:
        check_network_files(network)
    chosen = choose_streams(job, load) if job.runner.streams == 0 else None
    if chosen is not None:
        job = chosen.job
    several = job.runner.streams * job.preprocess.pictures > 1
    header = OVERLAPPING if several else HEADER
    with Stream(job, load) as stream, Lines(os.path.join(out, "times.csv"), header) as times:
        idle = idle_watts()
        warmup = _warm_up(job, stream)
        job = replace(job, workers=stream.workers)
        with Sampler(os.path.join(out, CONDITIONS)) as sampler:
            began, started = time.time(), time.monotonic()
            scored, ids, skipped, to_draw = _score(job, stream, times, out)
            starved, padded = stream.pace.starved, stream.padded
            passes = [scored] + _repeat(job, stream, times)
        proof = None
        if job.preprocess.pictures > 1:
            proof = Proof(job, out, companions(together(ids, scored)), _detections)
            proof.shuffle(stream)
        ran_on = environment(job, stream.runner)
        ran_on["sampling_cpu_s"] = round(sampler.cost_s, 4)
        ran_on["workers_found"] = stream.pace.rounds
        ran_on["starved"] = starved
        if chosen is not None:
            ran_on["streams_found"] = chosen.found
        if idle is not None:
            ran_on["idle_power_w"] = round(idle, 3)
    if proof is not None:
        ran_on["padded"] = padded
        proof.one_by_one(load)
        proof.close()
    # Only now, so that drawing does not slow down the timed passes.
    draw_pictures(job, to_draw, out)
    result = record(job, ran_on, passes, scored.pictures, skipped, warmup)
    # By the clock of this machine: passes on several machines are held together by it.
    result["began"] = round(began, 3)
    # Starting, loading and warming up: what a shard costs before its first picture.
    result["startup_s"] = round(started - start, 3)
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

    Where every picture has a shape of its own, it is one picture of each of the most frequent
    shapes instead, `job.warmup` pictures in all: a set of pictures has a hundred shapes. Nothing is
    recorded.

    Returns:
        How many pictures ran.
    """
    if not job.warmup:
        return 0
    by_shape: Dict[Shape, List[Picture]] = {}
    for picture in job.pictures:
        by_shape.setdefault(fit(picture, job.preprocess).shape, []).append(picture)
    turns = list(by_shape.values())
    if job.preprocess.multiple:
        turns.sort(key=len, reverse=True)
        turns = [[pictures[0] for pictures in turns[: job.warmup]]]
    used: List[Picture] = []

    def run(phase: str, pictures: Iterable[Picture], count: int) -> None:
        progress = events.Progress(phase, count)

        def finish(result: Union[Inferred, SkippedPicture]) -> None:
            if isinstance(result, Inferred):
                _detections(job, result)
                used.append(result.picture)
            progress.step()

        stream.run(itertools.islice(itertools.cycle(pictures), count), finish)

    for pictures in turns:
        run("warmup", pictures, job.warmup)
    # The device waited for pictures: more workers are tried until it does not or nothing is gained.
    for _ in range(stream.pace.limit if job.workers_grow else 0):
        if not stream.pace.decide():
            break
        run("workers", job.pictures, 2 * stream.pace.window)
    return len(used)


def _score(
    job: Job, stream: Stream, times: Lines, out: str
) -> Tuple[Pass, List[int], List[SkippedPicture], List[Detected]]:
    """Makes the pass that is both scored and timed; also returns the ids of its pictures."""
    ids: List[int] = []
    skipped: List[SkippedPicture] = []
    to_draw: List[Detected] = []
    detections_path = os.path.join(out, "detections.json")
    geometry_path = os.path.join(out, "geometry.jsonl")
    digests_path = os.path.join(out, DIGESTS)
    with JsonRows(detections_path) as rows:
        with Lines(geometry_path) as geometry, Lines(digests_path) as digests:

            def keep(result: Inferred, detections: Detections) -> None:
                ids.append(result.picture.id)
                rows.write(coco_rows(detections, result.picture.id, job))
                geometry.write(result.geometry.to_line() + "\n")
                digests.write(digest_line(result.picture, result.sha256))
                if len(to_draw) < job.draw:
                    to_draw.append((result.picture, detections))

            progress = events.Progress("scored", len(job.pictures))
            scored = _timed_pass(
                job, stream, times, 1, job.pictures, progress, keep, skipped.append
            )
    return scored, ids, skipped, to_draw


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

    stream.run(pictures, finish, adapt=False)
    return measured


def _detections(job: Job, result: Inferred) -> Detections:
    boxes, labels = result.outputs.boxes, result.outputs.labels
    check_outputs(boxes, labels, job, "picture {}".format(job.path(result.picture)))
    return locate(boxes, labels, result.geometry, job)
