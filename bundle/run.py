"""A job from its file to its results: warm-up, the scored pass, the repeats."""

from __future__ import annotations

import itertools
import os
import time
from typing import Any, Callable, Dict, List, Tuple, Union

import cv2

from bundle import draw, events
from bundle.digest import bundle_digest, file_digest
from bundle.environment import environment, peak_rss_bytes
from bundle.errors import BundleError
from bundle.files import JsonRows, Lines, make_folder, write_json, writing
from bundle.job import Job, Picture
from bundle.measure import HEADER, Pass, summarise
from bundle.picture import read_picture
from bundle.postprocess import Detections, check_outputs, coco_rows, locate
from bundle.runners import Runner, open_runner
from bundle.stream import Inferred, Skipped, Stream

FORMAT = 1
# Drawn are boxes that a person would call found.
_DRAWN_SCORE = 0.3


def run(job: Job, out: str, load: Callable[[Job], Runner] = open_runner) -> Dict[str, Any]:
    """Runs a job and leaves its results in the folder `out` (docs/architecture.md).

    Args:
        job: The job.
        out: The folder of the results.
        load: Loads the network.

    Returns:
        What run.json holds.

    Raises:
        BundleError: Something failed. There is no run.json then.
    """
    make_folder(out)
    _forget(out)
    digest = _check_model(job)
    with Stream(job, load) as stream, Lines(os.path.join(out, "times.csv"), HEADER) as times:
        warmup = _warm_up(job, stream)
        scored, skipped, drawable = _score(job, stream, times, out)
        passes = [scored] + _repeat(job, stream, times)
        described = environment(job, stream.runner)
    _draw(job, drawable, out)
    record = {
        "format": FORMAT,
        "status": "partial" if skipped else "complete",
        "problems": _problems(job, skipped),
        "skipped": [
            {"id": one.picture.id, "file": one.picture.file, "reason": one.reason}
            for one in skipped
        ],
        "images": scored.images,
        "simulated": bool(described.pop("simulated", False)),
        "environment": described,
        "summary": summarise(passes, job.workers),
        "digests": {"bundle": bundle_digest(), "model": digest},
        "warmup": warmup,
        "peak_rss_bytes": peak_rss_bytes(),
    }
    write_json(os.path.join(out, "run.json"), record)
    return record


def _forget(out: str) -> None:
    """Removes an earlier run's record: while it is there, the results are whole."""
    path = os.path.join(out, "run.json")
    with writing(path):
        if os.path.lexists(path):
            os.remove(path)


def _check_model(job: Job) -> str:
    try:
        digest = file_digest(job.runner.model)
    except OSError as failure:
        raise BundleError(
            "The network cannot be read: {}.".format(failure.strerror or failure),
            job.runner.model,
            "Run the stages that make it.",
        ) from None
    if digest != job.runner.model_sha256:
        raise BundleError(
            "The network is not the one that the job speaks of: its sha256 is {}, not {}.".format(
                digest, job.runner.model_sha256
            ),
            job.runner.model,
            "Something changed the file after the job was written: run again.",
        )
    return digest


def _warm_up(job: Job, stream: Stream) -> int:
    """Passes over the first pictures, again and again if they are few. Nothing is recorded."""
    if not job.warmup:
        return 0
    progress = events.Progress("warmup", job.warmup)
    used = Pass()

    def conclude(result: Union[Inferred, Skipped]) -> None:
        if isinstance(result, Inferred):
            _detections(job, result)
            used.add(result.times, 0.0)
        progress.step()

    stream.run(itertools.islice(itertools.cycle(job.pictures), job.warmup), conclude)
    return used.images


def _score(
    job: Job, stream: Stream, times: Lines, out: str
) -> Tuple[Pass, List[Skipped], List[Tuple[Picture, Detections]]]:
    """The pass whose detections are scored and whose times are told: one and the same."""
    skipped = []  # type: List[Skipped]
    drawable = []  # type: List[Tuple[Picture, Detections]]
    geometry_path = os.path.join(out, "geometry.jsonl")
    with JsonRows(os.path.join(out, "detections.json")) as rows, Lines(geometry_path) as geometry:

        def keep(result: Inferred, found: Detections) -> None:
            rows.write(coco_rows(found, result.picture.id, job))
            geometry.write(result.geometry.to_line() + "\n")
            if len(drawable) < job.draw:
                drawable.append((result.picture, found))

        scored = _timed(job, stream, times, 1, "scored", job.pictures, keep, skipped.append)
    return scored, skipped, drawable


def _repeat(job: Job, stream: Stream, times: Lines) -> List[Pass]:
    """The further passes over the first pictures, for the spread."""
    subset = job.pictures[: job.repeat_pictures]
    return [
        _timed(
            job,
            stream,
            times,
            number,
            "repeat {}/{}".format(number, job.repeats),
            subset,
            lambda result, found: None,
            lambda skipped: None,
        )
        for number in range(2, job.repeats + 1)
    ]


def _timed(
    job: Job,
    stream: Stream,
    times: Lines,
    number: int,
    phase: str,
    pictures: Tuple[Picture, ...],
    keep: Callable[[Inferred, Detections], None],
    skip: Callable[[Skipped], None],
) -> Pass:
    measured = Pass()
    progress = events.Progress(phase, len(pictures))
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


def _problems(job: Job, skipped: List[Skipped]) -> List[str]:
    if not skipped:
        return []
    return [
        "{} of {} pictures were skipped: {}{}".format(
            len(skipped),
            len(job.pictures),
            ", ".join(one.picture.file for one in skipped[:3]),
            ", ..." if len(skipped) > 3 else "",
        )
    ]


def _draw(job: Job, drawable: List[Tuple[Picture, Detections]], out: str) -> None:
    """Draws after the measured passes, so that it costs them nothing."""
    folder = os.path.join(out, "drawn")
    if drawable:
        make_folder(folder)
    for picture, found in drawable:
        image = read_picture(job.path(picture), picture)
        seen = found.scores >= _DRAWN_SCORE
        names = [job.class_names[label] for label in found.labels[seen]]
        drawn = draw.draw_boxes(image, found.boxes[seen], names, found.scores[seen])
        path = os.path.join(folder, "{}.jpg".format(picture.id))
        with writing(path), open(path, "wb") as stream:
            stream.write(cv2.imencode(".jpg", drawn)[1].tobytes())
