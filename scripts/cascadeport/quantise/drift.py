"""How far the int8 network's detections are from the same network's in float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cascadeport.graph.matching import Detections, match, overlaps, real

#: Detections below this score are few people's concern, and many.
SCORE = 0.3
#: Fewer detections say nothing of the drift.
FEWEST_DETECTIONS = 10


@dataclass(frozen=True)
class Drift:
    """Distances over all pictures.

    Attributes:
        disagreement: The mean over all detections of either network of 1 - IoU * (1 - difference
            of scores); of a detection that the other network lacks, 1. Between 0 and 1.
        pictures: How many pictures.
        detections: How many detections the float32 network has there, of score 0.3 or more.
        box_median: Of matched pairs, the largest difference of a coordinate, in pixels.
        box_p90: Likewise.
        score_median: Of matched pairs, the difference of scores.
        score_p90: Likewise.
        missing: Detections that int8 lacks.
        extra: Detections that only int8 has.
    """

    disagreement: float
    pictures: int
    detections: int
    box_median: float
    box_p90: float
    score_median: float
    score_p90: float
    missing: int
    extra: int

    @property
    def record(self) -> dict[str, Any]:
        """For quantise.json, rounded to what the pictures can tell."""
        return {key: round(value, 5) for key, value in asdict(self).items()}

    @property
    def is_measured(self) -> bool:
        """Whether there were enough detections to tell."""
        return self.detections >= FEWEST_DETECTIONS

    @property
    def text(self) -> str:
        """In words."""
        if not self.is_measured:
            return (
                f"drift NOT measured: in float32 the network has {self.detections} detections of "
                f"score {SCORE} or more in the {self.pictures} calibration pictures"
            )
        return (
            f"{100 * self.disagreement:.1f} % from float32 on {self.pictures} calibration "
            f"pictures (boxes {self.box_median:.2f} px, scores {self.score_median:.3f} in the "
            f"median; of {self.detections} detections {self.missing} missing, {self.extra} extra)"
        )


def measure(expected: Sequence[Detections], found: Sequence[Detections]) -> Drift:
    """Compares detections picture by picture: boxes (n,5) with scores, and labels (n)."""
    costs: list[float] = []
    boxes: list[float] = []
    scores: list[float] = []
    missing = extra = detections = 0
    for one, other in zip(expected, found, strict=True):
        first, second = real(one), real(other)
        matching = match(first, second)
        kept = _scores(first, matching.rows), _scores(second, matching.partners)
        # A pair counts if either network thinks that it is one; so 0.29 and 0.31 are no loss.
        chosen = np.maximum(*kept) >= SCORE
        pairs = overlaps(first[0][matching.rows], second[0][matching.partners]).diagonal()
        costs += (1 - pairs[chosen] * (1 - matching.scores[chosen])).tolist()
        boxes += matching.boxes[chosen].tolist()
        scores += matching.scores[chosen].tolist()
        lost, new = (int((part >= SCORE).sum()) for part in (matching.missing, matching.extra))
        costs += [1.0] * (lost + new)
        missing, extra = missing + lost, extra + new
        detections += int((first[0][:, 4] >= SCORE).sum())
    return Drift(
        disagreement=float(np.mean(costs)) if costs else 0.0,
        pictures=len(expected),
        detections=detections,
        box_median=_quantile(boxes, 0.5),
        box_p90=_quantile(boxes, 0.9),
        score_median=_quantile(scores, 0.5),
        score_p90=_quantile(scores, 0.9),
        missing=missing,
        extra=extra,
    )


def _scores(detections: Detections, rows: NDArray[np.int64]) -> NDArray[Any]:
    return np.asarray(detections[0][rows, 4])


def _quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(values, share)) if values else 0.0
