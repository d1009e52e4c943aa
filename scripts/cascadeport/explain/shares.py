"""Which declared change of meaning takes which share of the points.

Every change is switched on alone in a graph that has none, and then all of them together. What the
changes cost together and not one by one is their interaction: it is shown as a remainder.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport import datasets, evaluation
from cascadeport.base.errors import CascadeportError
from cascadeport.datasets import Dataset
from cascadeport.explain.changes import Change, Variants
from cascadeport.explain.pictures import Pictures
from cascadeport.explain.record import Shares, Side, Step

#: Longer than this is not begun unless the user says on how many pictures.
PATIENCE_S = 600.0


@dataclass(frozen=True)
class Wanted:
    """What is to be ablated.

    Attributes:
        variants: Each row's graphs.
        changes: The changes of each row to be tried.
        pictures: How many pictures; None: all, unless that takes too long.
    """

    variants: tuple[Variants, Variants]
    changes: tuple[Sequence[Change], Sequence[Change]]
    pictures: int | None = None


class TooLongError(CascadeportError):
    """All pictures would take longer than anybody wants to wait unasked."""


def measure(
    wanted: Wanted,
    pictures: Pictures,
    dataset: Dataset,
    maps: tuple[float | None, float | None],
    update: Callable[[int, int], None],
) -> Shares:
    """Measures the shares.

    Args:
        maps: The rows' own mAP, over all pictures.
        update: Told how many pictures are done, and of how many.

    Raises:
        TooLongError: It would take longer than `PATIENCE_S`, and nobody asked for it.
    """
    plans = _plans(wanted)
    ids = pictures.ids if wanted.pictures is None else pictures.ids[: wanted.pictures]
    runs = _Runs(plans, pictures)
    if wanted.pictures is None:
        runs.run(ids[0])
        began = time.monotonic()
        runs.run(ids[0])
        estimate = (time.monotonic() - began) * len(ids) / runs.threads
        if estimate > PATIENCE_S:
            raise TooLongError(
                f"The shares of points on all {len(ids)} pictures would take about "
                f"{estimate / 60:.0f} minutes on this machine.",
                next="`--ablate N` measures them on the first N pictures.",
            )
    began = time.monotonic()
    found = runs.all(ids, update)
    seconds = time.monotonic() - began
    with tempfile.TemporaryDirectory() as folder:
        scores = {name: _map(dataset, Path(folder), rows, ids) for name, rows in found.items()}
    whole = len(ids) == len(pictures.ids)
    sides = [_side(number, wanted, scores, maps[number] if whole else None) for number in (0, 1)]
    return Shares(
        pictures=len(ids),
        of=len(pictures.ids),
        seconds=round(seconds, 1),
        graphs=len(plans),
        first=sides[0],
        second=sides[1],
    )


_Name = tuple[int, tuple[str, ...]]


def _plans(wanted: Wanted) -> dict[_Name, Path]:
    """The graphs to run: of each row that has changes, without, with each alone, with all."""
    found: dict[_Name, Path] = {}
    for number, variants in enumerate(wanted.variants):
        names = tuple(one.name for one in wanted.changes[number])
        if not names:
            continue
        # What both rows change stays on throughout.
        common = tuple(one.name for one in variants.changes if one.name not in names)
        subsets = [(), *((name,) for name in names)]
        if len(names) > 1:
            subsets.append(names)
        for subset in subsets:
            found[number, subset] = variants.graph([*common, *subset])
    return found


def _side(
    number: int,
    wanted: Wanted,
    scores: dict[_Name, float | None],
    own: float | None,
) -> Side:
    changes = wanted.changes[number]
    base = scores.get((number, ()))
    together = scores.get((number, tuple(one.name for one in changes)))
    steps = []
    for one in changes:
        value = scores[number, (one.name,)]
        steps.append(Step(name=one.name, title=one.title, map=value, points=_points(base, value)))
    total = _points(base, together)
    known = [step.points for step in steps if step.points is not None]
    return Side(
        row=wanted.variants[number].row.name,
        map=own,
        base=base,
        together=together,
        steps=steps,
        remainder=None if total is None else total - sum(known),
        elsewhere=_points(together, own),
    )


def _points(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else 100 * (after - before)


def _map(
    dataset: Dataset, folder: Path, rows: list[dict[str, Any]], ids: Sequence[int]
) -> float | None:
    path = folder / "detections.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    truth = datasets.for_evaluation(dataset, folder)
    return evaluation.evaluate(truth, path, ids).stats["AP"]


class _Runs:
    """All graphs, loaded, and the threads that run pictures through them."""

    def __init__(self, plans: dict[_Name, Path], pictures: Pictures) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        self.threads = os.cpu_count() or 1
        self._pictures = pictures
        self._sessions = {}
        # Equal graphs run once.
        self._same: dict[_Name, _Name] = {}
        known: dict[bytes, _Name] = {}
        for name, path in plans.items():
            content = path.read_bytes()
            self._same[name] = known.setdefault(content, name)
            if self._same[name] != name:
                continue
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            options.intra_op_num_threads = 1
            self._sessions[name] = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )

    def run(self, picture: int) -> dict[_Name, list[dict[str, Any]]]:
        """One picture through every graph: COCO results."""
        array = self._pictures.read(picture)
        found = {}
        for name, session in self._sessions.items():
            taken = session.get_inputs()[0]
            given = array
            if array.dtype == "uint8" and "uint8" not in taken.type:
                given = self._pictures.as_float(array)
            boxes, labels = session.run(["boxes", "labels"], {taken.name: given})
            found[name] = self._pictures.located(picture, (boxes, labels))
        return {name: found[same] for name, same in self._same.items()}

    def all(
        self, ids: Sequence[int], update: Callable[[int, int], None]
    ) -> dict[_Name, list[dict[str, Any]]]:
        """Every picture through every graph."""
        done, lock = 0, threading.Lock()
        rows: dict[int, dict[_Name, list[dict[str, Any]]]] = {}

        def one(picture: int) -> None:
            nonlocal done
            found = self.run(picture)
            with lock:
                rows[picture] = found
                done += 1
                update(done, len(ids))

        with ThreadPoolExecutor(self.threads) as pool:
            waiting = [pool.submit(one, picture) for picture in ids]
            try:
                for each in waiting:
                    each.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        # In the pictures' order: it decides between equal scores.
        return {
            name: [row for picture in ids for row in rows[picture][name]] for name in self._same
        }
