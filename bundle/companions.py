"""What a network that takes several pictures at once finds in a picture among other companions.

Detections of a picture must not depend on those that go through the network with it. So a sample of
the pictures goes through it again, in another order and so among others, and through the network
for one picture at a time, where there is one. What is found is written as it is: whoever writes a
table compares it with the scored detections (docs/evaluation.md).
"""

from __future__ import annotations

import json
import os
import random
from collections import defaultdict
from dataclasses import replace
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, Sequence, Tuple, Union

from bundle import events
from bundle.files import Lines
from bundle.geometry import fit
from bundle.group import Inferred
from bundle.job import Job, Picture, Shape
from bundle.measure import Pass
from bundle.picture import SkippedPicture
from bundle.postprocess import Detections, coco_rows
from bundle.runners import Runner
from bundle.stream import Stream

NAME = "companions.jsonl"
#: What a line is about: the same network among other pictures, or the one for single pictures.
SHUFFLED, SINGLE = "shuffled", "single"
# At least so many pictures, and so many batches.
_PICTURES, _BATCHES = 8, 3
_TRIES = 100

Located = Callable[[Job, Inferred], Detections]
Companions = Mapping[int, FrozenSet[int]]


class Proof:
    """Writes companions.jsonl.

    Args:
        job: The job, whose network takes several pictures at once.
        out: The folder of the pass.
        scored: The pictures that went through the network with each, in the scored pass.
        locate: What makes detections of a network's outputs.

    """

    def __init__(self, job: Job, out: str, scored: Companions, locate: Located) -> None:
        self._job = job
        self._locate = locate
        self._path = os.path.join(out, NAME)
        self._lines: List[str] = []
        known = [one.id for one in job.pictures if one.id in scored]
        chosen = set(sample(known, job.preprocess.pictures))
        pictures = [one for one in job.pictures if one.id in chosen]
        self._order = reordered(job, pictures, scored)

    def close(self) -> None:
        """Writes the file.

        Raises:
            BundleError: It cannot be written.
        """
        with Lines(self._path) as lines:
            for line in self._lines:
                lines.write(line)

    def shuffle(self, stream: Stream) -> None:
        """Runs the sample again through the loaded network, among other companions."""
        self._run(SHUFFLED, self._job, stream)

    def one_by_one(self, load: Callable[[Job], Runner]) -> None:
        """Runs the sample through the network for single pictures, where the job has one."""
        if not self._job.runner.single:
            return
        runner = replace(self._job.runner, networks=self._job.runner.single, single=(), streams=1)
        preprocess = replace(self._job.preprocess, pictures=1)
        job = replace(self._job, runner=runner, preprocess=preprocess)
        with Stream(job, load) as stream:
            self._run(SINGLE, job, stream)

    def _run(self, kind: str, job: Job, stream: Stream) -> None:
        progress = events.Progress("companions: " + kind, len(self._order))

        def finish(result: Union[Inferred, SkippedPicture]) -> None:
            if isinstance(result, Inferred):
                line: Dict[str, Any] = {
                    "run": kind,
                    "id": result.picture.id,
                    "chip": result.times.chip,
                    "began_ms": result.times.began,
                    "detections": coco_rows(self._locate(job, result), result.picture.id, job),
                }
                self._lines.append(json.dumps(line) + "\n")
            progress.step()

        stream.run(self._order, finish, adapt=False)


def sample(ids: Sequence[int], at_once: int) -> List[int]:
    """Pictures from the whole pass, evenly: a fixed choice, which nobody makes after the pass."""
    count = min(len(ids), max(_PICTURES, _BATCHES * at_once))
    return [ids[number * len(ids) // count] for number in range(count)]


def reordered(job: Job, pictures: Sequence[Picture], scored: Companions) -> List[Picture]:
    """The pictures in an order in which, if possible, each has other companions than before."""
    best, fewest = list(pictures), len(pictures) + 1
    for seed in range(_TRIES):
        order = list(pictures)
        random.Random(seed).shuffle(order)
        found = groups(job, order)
        same = sum(found[one.id] == scored.get(one.id) for one in order)
        if same < fewest:
            best, fewest = order, same
        if not same:
            break
    return best


def groups(job: Job, order: Sequence[Picture]) -> Companions:
    """Who goes through the network with whom in a pass in this order."""
    filling: Dict[Shape, List[int]] = defaultdict(list)
    found: List[List[int]] = []
    for picture in order:
        group = filling[fit(picture, job.preprocess).shape]
        group.append(picture.id)
        if len(group) == job.preprocess.pictures:
            found.append(list(group))
            del group[:]
    return companions(found + list(filling.values()))


def companions(found: Sequence[Sequence[int]]) -> Companions:
    """For each picture of these groups, all pictures of its group."""
    return {one: frozenset(group) for group in found for one in group}


def together(ids: Sequence[int], times: Pass) -> List[List[int]]:
    """The groups of a pass: pictures whose network began at the same moment, on the same chip."""
    found: Dict[Tuple[int, float], List[int]] = defaultdict(list)
    for picture, moment in zip(ids, times.moments()):
        found[moment].append(picture)
    return list(found.values())
