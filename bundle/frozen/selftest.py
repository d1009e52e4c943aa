"""selftest: golden pictures through the whole path on the device, each part compared."""

from __future__ import annotations

import os
from typing import Callable, List, NamedTuple

import numpy as np

from bundle.errors import BundleError
from bundle.frozen.golden import (
    Golden,
    Steps,
    Walk,
    detections_of,
    device_problems,
    first_lane,
    pictures_path,
    read_expected,
    tables_difference,
)
from bundle.frozen.layout import Frozen
from bundle.geometry import fit
from bundle.job import Job
from bundle.picture import digest, read_bytes
from bundle.run import check_network_files
from bundle.runners import Runner, open_runner

PARTS = ("file", "decode", "network input", "network output", "postprocess", "device")


class Result(NamedTuple):
    """What the self-test found out about one part of the path of one picture.

    Args:
        picture: The picture's file.
        part: One of PARTS.
        state: `equal`, `within tolerance` or `differs`.
        detail: How it differs.
    """

    picture: str
    part: str
    state: str
    detail: str = ""


def selftest(frozen: Frozen, load: Callable[[Job], Runner] = open_runner) -> List[Result]:
    """Takes every golden picture through every part, and compares each part on its own.

    A part whose input differs already is compared as well: what comes after decoding cannot be
    right then, but postprocessing is always given the recorded outputs.

    Raises:
        BundleError: expected.json, a network or a picture cannot be used at all.
    """
    expected = read_expected(frozen)
    for network in frozen.job.runner.networks:
        check_network_files(network)
    runner = load(first_lane(frozen.job))
    try:
        walk = Walk(frozen.job, runner)
        results = [result for one in expected for result in _compare(one, frozen, walk)]
        return results + [_device(device_problems(frozen, runner))]
    finally:
        runner.close()


def _device(problems: List[str]) -> Result:
    """Whether the network ran where it should: known only after the first picture."""
    return Result("all", "device", "differs" if problems else "equal", " ".join(problems))


def _compare(golden: Golden, frozen: Frozen, walk: Walk) -> List[Result]:
    file, wanted = golden.picture.file, golden.steps
    path = os.path.join(pictures_path(frozen), file)
    data = read_bytes(path)
    if digest(data) != golden.sha256:
        return [Result(file, "file", "differs", "its sha256 is {}".format(digest(data)))]
    try:
        found = walk.steps(data, golden.picture, path)
    except BundleError as failure:
        return [Result(file, "network output", "differs", str(failure))]
    return [
        _same(file, "decode", found.decoded, wanted.decoded),
        _same(file, "network input", found.input, wanted.input),
        _output(file, found, wanted),
        _postprocess(golden, frozen.job),
    ]


def _same(file: str, part: str, found: str, wanted: str) -> Result:
    if found == wanted:
        return Result(file, part, "equal")
    return Result(file, part, "differs", "sha256 {}, not {}".format(found, wanted))


def _output(file: str, found: Steps, wanted: Steps) -> Result:
    if np.array_equal(found.boxes, wanted.boxes) and np.array_equal(found.labels, wanted.labels):
        return Result(file, "network output", "equal")
    difference = tables_difference((found.boxes, found.labels), (wanted.boxes, wanted.labels))
    if difference:
        return Result(file, "network output", "differs", difference)
    return Result(file, "network output", "within tolerance")


def _postprocess(golden: Golden, job: Job) -> Result:
    geometry = fit(golden.picture, job.preprocess)
    steps = golden.steps
    rows = detections_of(steps.boxes, steps.labels, geometry, golden.picture, job)
    if rows == steps.detections:
        return Result(golden.picture.file, "postprocess", "equal")
    return Result(
        golden.picture.file, "postprocess", "differs", "boxes, scores or classes are others"
    )
