"""Judges one picture: is a lowered graph as close to PyTorch as PyTorch is to itself?

What a network detects depends on rounding, some networks and pictures more than others. So the
exporter also stores what PyTorch detects when only rounding differs (other kernels, an input
changed in the last bit). The differences between those runs and PyTorch's own detections are the
picture's noise. A lowering may differ by a small multiple of it, and always by `FLOOR`.

Besides the maximum, which a single unstable detection decides, the median and the 90th percentile
are compared: they hardly vary from run to run, and a wrong weight moves most boxes a little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cascadeport.graph.matching import Detections, Matching, match, real


@dataclass(frozen=True)
class Spread:
    """How far matched detections are apart: statistics over their pairs.

    Attributes:
        median: Half of the pairs are no further apart.
        p90: Nine tenths of them.
        max: All.
    """

    median: float
    p90: float
    max: float

    def __iter__(self) -> Iterator[float]:
        return iter((self.median, self.p90, self.max))


#: How many times the noise a lowering's median, 90th percentile and maximum may be. Few pairs
#: decide a maximum, so it varies most.
FACTOR = Spread(2.5, 2.5, 4.0)
#: What is always allowed in boxes, in pixels of the network's input: of the maximum, what a user
#: could notice; of the others, some units in the last place of a coordinate.
BOX_FLOOR = Spread(2e-4, 4e-4, 1e-2)
#: What is always allowed in scores.
SCORE_FLOOR = Spread(4e-6, 1e-5, 1e-4)
#: How many times as many detections as PyTorch itself loses or gains, when only rounding differs, a
#: lowering may lose, gain or move for the same reason. Few detections decide it, as with a maximum.
STRAY_FACTOR = 4.0
#: Share of a picture's detections that may be missing, extra or astray for no visible reason.
#: Whether a proposal is kept is rounding too where two scores are nearly the same: a detection
#: comes or goes, or it stays, and another proposal leads to it, which ends beside the first one's
#: box. A few runs of PyTorch rarely show it. Pictures with fewer than 100 detections have none to
#: spare.
STRAY = 0.01


@dataclass(frozen=True)
class Measure:
    """One quantity (box coordinates in pixels, or scores) of one picture.

    Attributes:
        noise: PyTorch's largest distance from itself; None: it was not measured.
        error: The lowering's distance from PyTorch.
        limit: The largest allowed.
        ratio: Of error and noise, per statistic; None where the noise is 0.
    """

    noise: Spread | None
    error: Spread
    limit: Spread
    ratio: tuple[float | None, float | None, float | None]

    @property
    def passed(self) -> bool:
        """Whether each statistic is within its limit."""
        return all(error <= limit for error, limit in zip(self.error, self.limit, strict=True))


@dataclass(frozen=True)
class Cuts:
    """Where the network stops reporting detections.

    Attributes:
        score: Smallest score of a detection.
        count: Largest number of detections.
    """

    score: float
    count: int


@dataclass(frozen=True)
class PictureComparison:
    """One picture: the lowered graph against PyTorch.

    Attributes:
        name: The picture.
        traced: Whether the graph was traced on it (then it proves little).
        expected: Number of PyTorch's detections.
        found: Number of the lowered graph's detections.
        moved: How many of them are in another row than in PyTorch's list.
        missing: Scores of PyTorch's detections that the graph lacks for no visible reason.
        extra: Scores of the graph's detections that PyTorch lacks for no visible reason.
        at_a_cut: Number of missing and extra detections whose score is within noise of a cut, or
            that PyTorch itself also loses or gains by rounding.
        astray: Distances, in pixels and in score, of the pairs that are further apart than the
            limit for no visible reason, where they are few enough to be allowed; `boxes` and
            `scores` are those of the others.
        exchanged: Number of pairs that are further apart than the limit, where PyTorch itself
            exchanges detections by rounding; `boxes` and `scores` are those of the others.
        boxes: Differences of coordinates in pixels of the network's input.
        scores: Differences of scores.
        passed: Whether all of it is within the limits.
    """

    name: str
    traced: bool
    expected: int
    found: int
    moved: int
    missing: list[float]
    extra: list[float]
    at_a_cut: int
    astray: list[tuple[float, float]]
    exchanged: int
    boxes: Measure
    scores: Measure
    passed: bool

    @property
    def is_stray(self) -> bool:
        """Whether a detection is missing, extra or astray for no visible reason."""
        return bool(self.missing or self.extra or self.astray)


def compare(
    name: str,
    traced: bool,
    expected: Detections,
    found: Detections,
    noise: Sequence[Detections] = (),
    cuts: Cuts | None = None,
) -> PictureComparison:
    """Compares detections, boxes (n,5) and labels (n); rows of score 0 are padding.

    Args:
        name: The picture.
        traced: Whether the graph was traced on it.
        expected: PyTorch's detections.
        found: The lowered graph's.
        noise: What PyTorch detects when only rounding differs; none: only the floor of the
            maximum applies.
        cuts: Where the network stops; None: nothing may be missing or extra.
    """
    matching = match(expected, found)
    own = [match(expected, run) for run in noise]
    boxes = _measure([each.boxes for each in own], matching.boxes, BOX_FLOOR)
    scores = _measure([each.scores for each in own], matching.scores, SCORE_FLOOR)
    margin = scores.limit.max
    missing, extra = _unexplained(matching, expected, found, noise, own, margin, cuts)
    count = len(real(expected)[1])
    # Without cuts every detection counts.
    spare = int(STRAY * count) if cuts is not None else 0
    # A detection that replaces another may overlap it, so that they are paired all the same.
    moved = (matching.boxes > boxes.limit.max) | (matching.scores > scores.limit.max)
    strays = max(len(missing), len(extra)) + int(moved.sum())
    astray: list[tuple[float, float]] = []
    exchanged = 0
    if 0 < strays <= STRAY_FACTOR * _own_strays(expected, noise, own, margin, cuts):
        missing, extra, exchanged = [], [], int(moved.sum())
    elif strays <= spare:
        apart = matching.boxes[moved], matching.scores[moved]
        astray = list(zip(*(each.tolist() for each in apart), strict=True))
    if astray or exchanged:
        boxes = _measure([each.boxes for each in own], matching.boxes[~moved], BOX_FLOOR)
        scores = _measure([each.scores for each in own], matching.scores[~moved], SCORE_FLOOR)
    finite = bool(np.isfinite(found[0]).all())
    return PictureComparison(
        name=name,
        traced=traced,
        expected=count,
        found=len(real(found)[1]),
        moved=matching.moved,
        missing=missing,
        extra=extra,
        at_a_cut=len(matching.missing) + len(matching.extra) - len(missing) - len(extra),
        astray=astray,
        exchanged=exchanged,
        boxes=boxes,
        scores=scores,
        passed=finite and max(len(missing), len(extra)) <= spare and boxes.passed and scores.passed,
    )


def problem(comparison: PictureComparison) -> str:
    """What is wrong with a picture that did not pass, in a sentence."""
    parts = strays(comparison)
    for what, unit, measure in (
        ("boxes", " px", comparison.boxes),
        ("scores", "", comparison.scores),
    ):
        for statistic in ("median", "p90", "max"):
            error, limit = getattr(measure.error, statistic), getattr(measure.limit, statistic)
            if not error <= limit:
                noise = getattr(measure.noise, statistic) if measure.noise else None
                own = "" if noise is None else f"; PyTorch from itself by {noise:.2g}{unit}"
                parts.append(
                    f"{what} differ by {error:.2g}{unit} ({statistic}; limit {limit:.2g}{own})"
                )
    return f"{comparison.name}: " + ("; ".join(parts) or "numbers that are not finite")


def strays(comparison: PictureComparison) -> list[str]:
    """The detections that no visible reason explains, a phrase for each kind."""
    kinds = {"lacks": comparison.missing, "adds": comparison.extra}
    phrases = [_listed(verb, scores) for verb, scores in kinds.items() if scores]
    if comparison.astray:
        pixels, score = map(max, zip(*comparison.astray, strict=True))
        count = _detections(len(comparison.astray))
        phrases.append(f"moves {count} by up to {pixels:.2g} px and {score:.2g} in score")
    return phrases


def _listed(verb: str, scores: Sequence[float]) -> str:
    best = ", ".join(f"{score:.3f}" for score in sorted(scores, reverse=True)[:3])
    more = ", ..." if len(scores) > 3 else ""
    return f"{verb} {_detections(len(scores))} (scores {best}{more})"


def _detections(count: int) -> str:
    return f"{count} detection" if count == 1 else f"{count} detections"


def _spread(values: NDArray[np.float64]) -> Spread:
    if not len(values):
        return Spread(0.0, 0.0, 0.0)
    median, p90, highest = np.percentile(values, (50, 90, 100))
    return Spread(float(median), float(p90), float(highest))


def _measure(
    noise: Sequence[NDArray[np.float64]], error: NDArray[np.float64], floor: Spread
) -> Measure:
    found = _spread(error)
    if not noise:
        return Measure(None, found, Spread(*[floor.max] * 3), (None, None, None))
    own = Spread(*(max(each) for each in zip(*map(_spread, noise), strict=True)))
    limit = Spread(*(max(f * n, low) for f, n, low in zip(FACTOR, own, floor, strict=True)))
    ratio = [e / n if n else None for e, n in zip(found, own, strict=True)]
    return Measure(own, found, limit, (ratio[0], ratio[1], ratio[2]))


def _unexplained(
    matching: Matching,
    expected: Detections,
    found: Detections,
    noise: Sequence[Detections],
    own: Sequence[Matching],
    margin: float,
    cuts: Cuts | None,
) -> tuple[list[float], list[float]]:
    """Scores of the detections that no cut and no noise explains: missing, extra."""
    if cuts is None:
        return matching.missing.tolist(), matching.extra.tolist()
    lost = {row for each in own for row in each.missing_rows}
    missing = [
        float(score)
        for row, score in zip(matching.missing_rows, matching.missing, strict=True)
        if score > _cut(found, cuts) + margin and row not in lost
    ]
    strange = real(found)
    gained = [
        (run[0][each.extra_rows], run[1][each.extra_rows])
        for run, each in zip(map(real, noise), own, strict=True)
    ]
    extra = []
    for row, score in zip(matching.extra_rows, matching.extra, strict=True):
        one = strange[0][[row]], strange[1][[row]]
        if score > _cut(expected, cuts) + margin and not any(
            len(match(one, run).boxes) for run in gained
        ):
            extra.append(float(score))
    return missing, extra


def _own_strays(
    expected: Detections,
    noise: Sequence[Detections],
    own: Sequence[Matching],
    margin: float,
    cuts: Cuts | None,
) -> int:
    """How many detections PyTorch itself loses or gains at most, by no cut, in its other runs."""
    strays = [
        _unexplained(matching, expected, run, (), (), margin, cuts)
        for matching, run in zip(own, noise, strict=True)
    ]
    return max((len(part) for both in strays for part in both), default=0)


def _cut(detections: Detections, cuts: Cuts) -> float:
    """The score below which a run of the network reports nothing."""
    boxes, _ = real(detections)
    return float(boxes[:, 4].min()) if len(boxes) >= cuts.count else cuts.score
