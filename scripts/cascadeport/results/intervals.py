"""How far an accuracy depends on the pictures: bootstrap intervals over pictures.

Pictures are drawn with replacement (B. Efron, "Bootstrap Methods: Another Look at the Jackknife",
Annals of Statistics 7, 1979), the accuracy is computed over each draw, and the interval is that
between two percentiles. Two passes over the same pictures are compared in the same draws: what
makes a picture hard for both does not widen the interval of their difference.

COCO's AP over a draw follows from the matches of every detection (evaluation/matches.py): a picture
drawn k times counts k times. Nothing is matched or sorted again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cascadeport.evaluation.matches import IGNORED, RIGHT, CategoryMatches, Matches

LEVEL = 0.95
DRAWS = 1000
SEED = 0
FEWEST_PICTURES = 20
"""With fewer pictures a draw says little: percentiles of a handful of values are no interval."""

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int32]
# As the COCO API has them; 57 / 100 is below the 58th of these, and COCO compares with these.
_RECALLS = np.linspace(0.0, 1.0, 101)
# How many numbers of eight bytes are worked on at once, and draws at least.
_CACHED = 1 << 16
_FEWEST_DRAWS = 16


@dataclass(frozen=True)
class Interval:
    """An interval that covers the value of all pictures with a probability of `LEVEL`."""

    low: float
    high: float


@dataclass(frozen=True)
class Accuracies:
    """The accuracy over each draw.

    Args:
        map: mAP over IoU 0.50:0.95 (draws); NaN where a draw has no object.
        categories: AP of each category (categories, draws); NaN where a draw has none of it.
        ids: The categories' ids.
        pictures: How many pictures have objects of each category, by its id.
    """

    map: Floats
    categories: Floats
    ids: tuple[int, ...]
    pictures: Mapping[int, int]


@dataclass(frozen=True)
class Differences:
    """How a pass differs from a reference: intervals of mAP and of AP by category id."""

    map: Interval | None
    categories: dict[int, Interval]


def draw(pictures: int, draws: int = DRAWS, seed: int = SEED) -> npt.NDArray[np.uint16]:
    """How often each picture is in each draw (pictures, draws); equal seeds give equal draws."""
    generator = np.random.default_rng(seed)
    drawn = np.zeros((pictures, draws), dtype=np.uint16)
    for number in range(draws):
        chosen = generator.integers(0, pictures, pictures)
        drawn[:, number] = np.bincount(chosen, minlength=pictures)
    return drawn


def accuracies(matches: Matches, drawn: npt.NDArray[np.uint16]) -> Accuracies:
    """The accuracy over each draw.

    Args:
        matches: The matches of a pass over the pictures.
        drawn: How often each picture is in each draw (pictures, draws).
    """
    draws = drawn.shape[1]
    found = np.full((len(matches.categories), draws), np.nan)
    # numpy lets go of Python's lock while it computes.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        of_each = pool.map(lambda category: _aps(category, drawn), matches.categories)
        for place, values in enumerate(of_each):
            found[place] = values
    exists = ~np.isnan(found)
    sums, counts = np.where(exists, found, 0.0).sum(axis=0), exists.sum(axis=0)
    with np.errstate(invalid="ignore"):
        means = np.where(counts > 0, sums / counts, np.nan)
    return Accuracies(
        map=means,
        categories=found,
        ids=tuple(one.id for one in matches.categories),
        pictures={one.id: len(np.unique(one.objects)) for one in matches.categories},
    )


def all_pictures(matches: Matches) -> float | None:
    """mAP over every picture once; None where no picture has an object."""
    once = np.ones((len(matches.picture_ids), 1), dtype=np.uint16)
    found = float(accuracies(matches, once).map[0])
    return None if np.isnan(found) else found


def interval(values: Floats) -> Interval | None:
    """The percentile interval of the values of the draws; None where hardly any draw has one."""
    known = values[~np.isnan(values)]
    if known.size < values.size / 2:
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high))


def paired(one: Accuracies, reference: Accuracies) -> Differences:
    """Intervals of the difference of two passes, from the same draws of the same pictures."""
    places = {category: place for place, category in enumerate(reference.ids)}
    by_category = {
        category: interval(one.categories[place] - reference.categories[places[category]])
        for place, category in enumerate(one.ids)
        if category in places
    }
    return Differences(
        map=interval(one.map - reference.map),
        categories={category: found for category, found in by_category.items() if found},
    )


def unpaired(one: Accuracies, published: float) -> Interval | None:
    """The interval of the difference from a number of which nothing else is known.

    It is wider than a paired one: what the pictures contribute is in it in full.
    """
    return interval(one.map - published)


def _relevant(category: CategoryMatches) -> CategoryMatches:
    """The category without detections that count at no IoU, and those after the last right one."""
    verdicts = category.verdicts
    right = np.flatnonzero((verdicts == RIGHT).any(axis=0))
    end = right[-1] + 1 if right.size else 0
    chosen = np.flatnonzero((verdicts[:, :end] != IGNORED).any(axis=0))
    return replace(
        category, pictures=category.pictures[chosen], verdicts=verdicts[:, chosen].copy()
    )


def _aps(category: CategoryMatches, drawn: npt.NDArray[np.uint16]) -> Floats:
    """AP of a category over each draw, of so many draws at once as a processor's cache holds."""
    category = _relevant(category)
    right = max(1, int((category.verdicts[0] == RIGHT).sum()))
    width = min(max(_CACHED // right, _FEWEST_DRAWS), drawn.shape[1])
    starts = range(0, drawn.shape[1], width)
    return np.concatenate([_ap(category, drawn[:, start : start + width]) for start in starts])


def _ap(category: CategoryMatches, drawn: npt.NDArray[np.uint16]) -> Floats:
    """AP of a category over each draw (draws); NaN where a draw has no object of it."""
    draws = drawn.shape[1]
    objects = drawn[category.objects].sum(axis=0, dtype=np.int32)
    ever = np.flatnonzero((category.verdicts == RIGHT).any(axis=0))
    if not category.objects.size or not objects.any():
        return np.full(draws, np.nan)
    total = np.zeros(draws)
    if ever.size:
        # Precision matters where recall grows: at right detections. In between, only how many
        # detections there are counts.
        before = _running(drawn, category.pictures, ever)
        reached = _reached(np.arange(objects.max() + 1)[:, None] / np.maximum(objects, 1))
        for verdicts in category.verdicts:
            right = np.flatnonzero(verdicts == RIGHT)
            if right.size:
                counted = before[np.searchsorted(ever, right)]
                ignored = np.flatnonzero(verdicts == IGNORED)
                if ignored.size:
                    counted -= _up_to(drawn, category.pictures, ignored, right)
                total += _area(drawn[category.pictures[right]], counted, reached)
    with np.errstate(invalid="ignore"):
        return np.where(objects > 0, total / len(category.verdicts), np.nan)


def _running(
    drawn: npt.NDArray[np.uint16], pictures: npt.NDArray[np.int64], ends: npt.NDArray[np.intp]
) -> Counts:
    """How many detections there are up to each of `ends`, itself included (ends, draws)."""
    starts = np.r_[0, ends[:-1] + 1]
    upto = drawn[pictures[: ends[-1] + 1]]
    return np.cumsum(np.add.reduceat(upto, starts, axis=0, dtype=np.int32), axis=0, dtype=np.int32)


def _up_to(
    drawn: npt.NDArray[np.uint16],
    pictures: npt.NDArray[np.int64],
    which: npt.NDArray[np.intp],
    ends: npt.NDArray[np.intp],
) -> Counts:
    """How many of the detections `which` there are before each of `ends` (ends, draws)."""
    sums = np.cumsum(drawn[pictures[which]], axis=0, dtype=np.int32)
    padded = np.concatenate([np.zeros((1, sums.shape[1]), np.int32), sums])
    found: Counts = padded[np.searchsorted(which, ends)]
    return found


def _area(right: npt.NDArray[np.uint16], counted: Counts, reached: npt.NDArray[np.uint8]) -> Floats:
    """The mean precision at 101 recalls over each draw (draws).

    Args:
        right: How often each right detection is in each draw (right detections, draws).
        counted: How many detections there are up to each of them.
        reached: How many of the recalls are reached by each number of them (numbers, draws).
    """
    found = np.cumsum(right, axis=0, dtype=np.int32)
    precision = found / np.maximum(counted, 1)
    # From the right, precision never falls: COCO's envelope.
    np.maximum.accumulate(precision[::-1], axis=0, out=precision[::-1])
    # The recalls between a right detection and the one before are its own.
    found *= right.shape[1]
    found += np.arange(right.shape[1], dtype=np.int32)
    upto = reached.ravel().take(found)
    upto[1:] -= upto[:-1].copy()
    area: Floats = np.einsum("kd,kd->d", precision, upto) / len(_RECALLS)
    return area


def _reached(recall: Floats) -> npt.NDArray[np.uint8]:
    """How many of COCO's recalls are at most `recall`; none at recall 0, where nothing is found."""
    guess = np.minimum((recall * 100).astype(np.int64), 100)
    # Rounding may have put it one too high or too low.
    guess -= _RECALLS[guess] > recall
    guess += _RECALLS[np.minimum(guess + 1, 100)] <= recall
    np.minimum(guess, 100, out=guess)
    return np.where(recall > 0, guess + 1, 0).astype(np.uint8)
