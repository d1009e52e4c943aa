"""Whether detections depend on the pictures that went through the network with a picture.

The bundle runs a sample of the pictures again, among others and one at a time, and keeps what was
found (bundle/companions.py). Here that is compared with the scored detections, whenever a table is
written.

What is equal: a runtime may choose another kernel for another batch, which adds up in another
order. So the same is allowed as between two processors that run the same network
(bundle/frozen/golden.py): 0.1 px and 0.001 of a score; but half of all differences must be within a
hundredth of that, because what leaks from one picture into another moves most boxes a little. A
detection may come or go where its score is that close to the threshold or to the last of a full
list, and beyond that as few as verification allows (graph/comparison.py): 1 % of them.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from bundle import companions as bundled
from bundle.errors import BundleError
from bundle.measure import Recorded, read_times
from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import RECORD_LIMIT, read_bytes
from cascadeport.graph.comparison import STRAY
from cascadeport.graph.matching import Detections, match

FILE = bundled.NAME
KEY = "companions"
"""What the figures are called in run.json."""
BOX_PX, SCORE = 0.1, 0.001
"""The most that a box, in pixels of the picture, and a score may differ."""
MIDDLE = 0.01
"""The part of these that half of all pairs may differ."""
_DETECTIONS, _TIMES = "detections.json", "times.csv"


class _Box(BaseModel):
    model_config = ConfigDict(frozen=True)

    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True)

    run: Literal["shuffled", "single"]
    id: int
    chip: int
    began_ms: float | None
    detections: list[_Box]


class Figures(BaseModel):
    """How far the sample's detections are from the scored ones, in one way of running it again.

    Args:
        pictures: How many pictures were compared.
        detections: How many detections the scored pass has in them.
        box_px, box_px_median: The largest and the median difference of a box.
        score, score_median: Likewise, of a score.
        strays: Detections without a partner, or with one that is too far, for no visible reason.
    """

    pictures: int = 0
    detections: int = 0
    box_px: float = 0.0
    box_px_median: float = 0.0
    score: float = 0.0
    score_median: float = 0.0
    strays: int = 0

    @property
    def difference(self) -> str | None:
        """What differs by more than noise, as a clause; None: nothing."""
        if self.strays > STRAY * self.detections:
            return f"{self.strays} of {self.detections} detections differ"
        if self.box_px_median > MIDDLE * BOX_PX:
            return f"half of the boxes move by {self.box_px_median:.2g} px or more"
        if self.score_median > MIDDLE * SCORE:
            return f"half of the scores change by {self.score_median:.2g} or more"
        return None


def with_results(ids: Sequence[int], record: Mapping[str, Any]) -> list[int]:
    """The pictures that a pass has results of, by its run.json."""
    skipped = {one.get("id") for one in record.get("skipped", [])}
    return [one for one in ids if one not in skipped]


def at_once(settings: Mapping[str, Any]) -> int:
    """How many pictures a job's network takes at once."""
    found = settings.get("input")
    value = found.get("pictures", 1) if isinstance(found, Mapping) else 1
    return value if isinstance(value, int) and value > 0 else 1


def compare(
    folder: Path, settings: Mapping[str, Any], expected: Sequence[int]
) -> tuple[dict[str, Figures], list[str]]:
    """Compares what the sample's pictures were found to have among others with the scored pass.

    Args:
        folder: The pass's folder.
        settings: Its job, without networks and pictures.
        expected: The ids of the pictures that have results, in the order of the job.

    Returns:
        The figures by the way of running, and what makes the row invalid, a clause each. Both are
        empty where the network takes one picture at a time.
    """
    pictures = at_once(settings)
    if pictures == 1:
        return {}, []
    try:
        lines = _lines(folder / FILE)
        scored = _scored(folder / _DETECTIONS)
        passes = read_times(str(folder / _TIMES))
    except (CascadeportError, BundleError) as error:
        return {}, [f"nothing proves that detections do not depend on companions: {error.what}"]
    try:
        cuts = _cuts(settings)
    except (TypeError, ValueError, OverflowError):
        return {}, ["infer/stage.json: the settings have no score threshold"]
    wanted = bundled.sample(expected, pictures)
    figures, problems = {}, []
    for run in (bundled.SHUFFLED, bundled.SINGLE):
        own = [line for line in lines if line.run == run]
        if sorted(line.id for line in own) != sorted(wanted):
            problems.append(f"infer/{FILE}: '{run}' is about other pictures than the sample")
            continue
        figures[run] = _figures(own, scored, cuts)
        difference = figures[run].difference
        if difference:
            how = "among other pictures" if run == bundled.SHUFFLED else "one picture at a time"
            problems.append(f"detections depend on companions: {how}, {difference}")
    shuffled = [line for line in lines if line.run == bundled.SHUFFLED]
    problems += _same_companions(shuffled, passes, pictures, len(expected))
    return figures, problems


def remark(figures: Mapping[str, Figures]) -> list[str]:
    """What was compared, in a sentence."""
    if not figures:
        return []
    box = max(one.box_px for one in figures.values())
    score = max(one.score for one in figures.values())
    count = max(one.pictures for one in figures.values())
    return [
        f"A picture's detections do not depend on its companions: {count} pictures among others "
        f"and one at a time, boxes within {box:.2g} px, scores within {score:.2g}."
    ]


def _lines(path: Path) -> list[_Line]:
    content = read_bytes(path, "record of companions", limit=RECORD_LIMIT)
    try:
        return [_Line.model_validate(json.loads(line)) for line in content.splitlines()]
    except (ValueError, RecursionError, ValidationError):
        raise CascadeportError(
            "The record of companions is not in the format of this version.", where=str(path)
        ) from None


def _scored(path: Path) -> dict[int, list[_Box]]:
    content = read_bytes(path, "file of detections", limit=8 * RECORD_LIMIT)
    found: dict[int, list[_Box]] = defaultdict(list)
    try:
        for row in json.loads(content):
            found[row["image_id"]].append(
                _Box(category_id=row["category_id"], bbox=row["bbox"], score=row["score"])
            )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CascadeportError("The detections cannot be read.", where=str(path)) from None
    return found


def _cuts(settings: Mapping[str, Any]) -> tuple[float, int]:
    """Below which score there are no detections, and how many there are at most."""
    post = settings.get("postprocess")
    values = post if isinstance(post, Mapping) else {}
    return float(values.get("score_threshold", 0.0)), int(values.get("max_detections", 100))


def _figures(
    lines: Sequence[_Line], scored: Mapping[int, list[_Box]], cuts: tuple[float, int]
) -> Figures:
    boxes: list[float] = []
    scores: list[float] = []
    strays = count = 0
    for line in lines:
        first, second = _table(scored.get(line.id, [])), _table(line.detections)
        matching = match(first, second)
        near = (matching.boxes <= BOX_PX) & (matching.scores <= SCORE)
        boxes += matching.boxes[near].tolist()
        scores += matching.scores[near].tolist()
        count += len(first[0])
        strays += int(np.sum(~near))
        for missing, table in ((matching.missing, first), (matching.extra, second)):
            strays += sum(not _at_a_cut(score, table, cuts) for score in missing)
    return Figures(
        pictures=len(lines),
        detections=count,
        box_px=max(boxes, default=0.0),
        box_px_median=median(boxes) if boxes else 0.0,
        score=max(scores, default=0.0),
        score_median=median(scores) if scores else 0.0,
        strays=strays,
    )


def _table(rows: Sequence[_Box]) -> Detections:
    boxes = np.array([[*row.bbox, row.score] for row in rows], np.float64).reshape(-1, 5)
    boxes[:, 2:4] += boxes[:, :2]
    return boxes, np.array([row.category_id for row in rows], np.int64)


def _at_a_cut(score: float, table: Detections, cuts: tuple[float, int]) -> bool:
    threshold, most = cuts
    if score <= threshold + SCORE:
        return True
    scores = table[0][:, 4]
    return len(scores) >= most and score <= float(scores.min()) + SCORE


def _same_companions(
    lines: Sequence[_Line], passes: Sequence[Recorded], pictures: int, total: int
) -> list[str]:
    """Whether pictures of the sample had the companions of the scored pass again."""
    if not passes or not lines:
        return []
    before = bundled.companions(bundled.together(passes[0].ids, passes[0].times))
    groups: dict[tuple[int, float], list[int]] = defaultdict(list)
    for line in lines:
        moment = math.nan if line.began_ms is None else round(line.began_ms, 4)
        groups[line.chip, moment].append(line.id)
    if any(len(group) > pictures for group in groups.values()):
        return [f"infer/{FILE}: more pictures at once than the job's network takes"]
    after = bundled.companions(list(groups.values()))
    same = [one for one in after if after[one] == before.get(one)]
    # Of very few pictures, the same ones have to go together again.
    if same and total >= 2 * pictures:
        return [f"infer/{FILE}: picture {same[0]} had the same companions as before"]
    return []
