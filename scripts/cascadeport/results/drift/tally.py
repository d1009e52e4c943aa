"""Measures how the detections of two rows differ over all pictures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascadeport.evaluation import Detected
from cascadeport.results.drift.pairing import Found, Pairing, pair
from cascadeport.results.drift.record import Drift, Extent, PictureDrift, Summary

PIXELS = 0.5
"""Boxes that differ by no more than this are not counted as moved: nobody can see it."""
DIFFERENCE = 0.01
"""Scores that differ by no more than this are not counted as moved."""
CONFIDENT = 0.5
"""The fixed score: what an application would act on."""
WORST = 12
"""How many pictures are listed."""


def measure(
    names: tuple[str, str],
    first: Detected,
    second: Detected,
    files: Mapping[int, str],
    *,
    worst: int = WORST,
) -> Drift:
    """Compares the detections of two rows.

    Args:
        names: The targets' names.
        first, second: Their detections.
        files: The name of every picture of the data set that was run, by id; a picture without
            detections counts as well.
        worst: How many pictures to list at most.
    """
    overall, confident = _Tally(None), _Tally(CONFIDENT)
    listed: list[PictureDrift] = []
    alike = 0
    for identifier, one, other in pictures(first, second, files):
        paired = overall.add(identifier, one, other)
        alike += not _differs(paired)
        one, other = one.above(CONFIDENT), other.above(CONFIDENT)
        paired = confident.add(identifier, one, other)
        if _differs(paired):
            weight = _weight(paired, one, other)
            listed.append(_picture(identifier, files[identifier], weight, paired))
    listed.sort(key=lambda picture: (-picture.weight, picture.id))
    return Drift(
        first=names[0],
        second=names[1],
        pictures=len(files),
        alike=alike,
        pixels=PIXELS,
        difference=DIFFERENCE,
        overall=overall.summary(),
        confident=confident.summary(),
        worst=listed[:worst],
    )


def pictures(
    first: Detected, second: Detected, identifiers: Iterable[int]
) -> Iterator[tuple[int, Found, Found]]:
    """The detections of two rows, picture by picture, by ascending id."""
    order = sorted(identifiers)
    yield from zip(order, _split(first, order), _split(second, order), strict=True)


def _split(detected: Detected, order: Sequence[int]) -> Iterator[Found]:
    """The detections of each picture, in the order of the file."""
    rows = np.argsort(detected.pictures, kind="stable")
    ordered = detected.pictures[rows]
    begins = np.searchsorted(ordered, order, "left")
    ends = np.searchsorted(ordered, order, "right")
    corners = np.hstack([detected.boxes[:, :2], detected.boxes[:, :2] + detected.boxes[:, 2:]])
    for begin, end in zip(begins, ends, strict=True):
        own = rows[begin:end]
        yield Found(corners[own], detected.scores[own], detected.categories[own])


def _differs(paired: Pairing) -> bool:
    return bool(
        len(paired.changed) or len(paired.missing) or len(paired.extra) or _moved(paired).any()
    )


def _moved(paired: Pairing) -> NDArray[np.bool_]:
    moved: NDArray[np.bool_] = (paired.pixels > PIXELS) | (np.abs(paired.scores) > DIFFERENCE)
    return moved


def _weight(paired: Pairing, one: Found, other: Found) -> float:
    scores = np.maximum(one.scores[paired.same[:, 0]], other.scores[paired.same[:, 1]])
    changed = np.maximum(one.scores[paired.changed[:, 0]], other.scores[paired.changed[:, 1]])
    return float(
        one.scores[paired.missing].sum()
        + other.scores[paired.extra].sum()
        + changed.sum()
        + ((1 - paired.overlap) * scores + np.abs(paired.scores)).sum()
    )


def _picture(identifier: int, file: str, weight: float, paired: Pairing) -> PictureDrift:
    return PictureDrift(
        id=identifier,
        file=file,
        weight=weight,
        moved=int(_moved(paired).sum()),
        classes=len(paired.changed),
        missing=len(paired.missing),
        extra=len(paired.extra),
    )


@dataclass
class _Values:
    """The values of one kind of difference, and the pictures that they are of."""

    values: list[NDArray[np.float64]] = field(default_factory=list)
    pictures: list[NDArray[np.int64]] = field(default_factory=list)

    def add(self, values: NDArray[Any], picture: int) -> None:
        if len(values):
            self.values.append(np.asarray(values, np.float64))
            self.pictures.append(np.full(len(values), picture, np.int64))

    def extent(self, total: int, above: float | None = None) -> Extent:
        """What they amount to.

        Args:
            total: How many there could be.
            above: Only those above it count; None: all of them do.
        """
        if not self.values:
            return Extent(count=0, share=0.0 if total else None)
        values = np.concatenate(self.values)
        at = int(values.argmax())
        count = len(values) if above is None else int((values > above).sum())
        median, p90 = np.percentile(values, [50, 90])
        return Extent(
            count=count,
            share=count / total,
            median=float(median),
            p90=float(p90),
            worst=float(values[at]),
            picture=int(np.concatenate(self.pictures)[at]),
        )


class _Tally:
    """The differences of all pictures, of detections of at least one score."""

    def __init__(self, score: float | None) -> None:
        self._score = score
        self._first = self._second = self._pairs = self._identical = 0
        self._boxes, self._scores = _Values(), _Values()
        self._classes, self._missing, self._extra = _Values(), _Values(), _Values()

    def add(self, picture: int, one: Found, other: Found) -> Pairing:
        paired = pair(one, other)
        self._first += len(one.scores)
        self._second += len(other.scores)
        self._pairs += len(paired.same)
        self._identical += int(((paired.pixels == 0) & (paired.scores == 0)).sum())
        self._boxes.add(paired.pixels, picture)
        self._scores.add(np.abs(paired.scores), picture)
        changed = paired.changed
        self._classes.add(
            np.maximum(one.scores[changed[:, 0]], other.scores[changed[:, 1]]), picture
        )
        self._missing.add(one.scores[paired.missing], picture)
        self._extra.add(other.scores[paired.extra], picture)
        return paired

    def summary(self) -> Summary:
        changed = sum(map(len, self._classes.values))
        total = self._first + self._second - self._pairs - changed
        return Summary(
            score=self._score,
            first=self._first,
            second=self._second,
            pairs=self._pairs,
            identical=self._identical,
            boxes=self._boxes.extent(self._pairs, PIXELS),
            scores=self._scores.extent(self._pairs, DIFFERENCE),
            classes=self._classes.extent(total),
            missing=self._missing.extent(total),
            extra=self._extra.extent(total),
        )
