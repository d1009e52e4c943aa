"""The result of an evaluation: evaluation.json (docs/architecture.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_text
from cascadeport.base.reading import RECORD_LIMIT, read_bytes

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The 12 numbers, with the names of COCO's detection leaderboard, in the COCO API's order."""

_Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Evaluator(_Frozen):
    """A program that computes the numbers."""

    name: str
    version: str

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"{self.name} {self.version}"


class Evaluators(_Frozen):
    """The evaluator whose numbers count, and the one that checks them."""

    record: Evaluator
    check: Evaluator

    @property
    def title(self) -> str:
        """How tables name them."""
        return f"{self.record.title}, checked by {self.check.title}"


class Sources(_Frozen):
    """What was evaluated: the sha256 of both files, and of the list of the pictures' ids."""

    annotations: str
    detections: str
    pictures: str


class CategoryAp(_Frozen):
    """One category: AP over IoU 0.50:0.95, AP at IoU 0.50, and the number of objects.

    `annotations` does not count crowds; where it is 0, `ap` and `ap50` are None.
    """

    id: int
    name: str
    ap: _Finite | None
    ap50: _Finite | None
    annotations: int


class Curves(_Frozen):
    """Precision at 101 recalls, for one IoU threshold, all areas and 100 detections per picture.

    `all` is the mean over the categories with objects, None if there are none. `per_category` has
    only those categories, by id.
    """

    recall: list[_Finite]
    all: list[_Finite] | None
    per_category: dict[int, list[_Finite]]

    @model_validator(mode="after")
    def _same_length(self) -> Curves:
        lengths = {len(self.all)} if self.all is not None else set()
        lengths |= {len(curve) for curve in self.per_category.values()}
        if lengths - {len(self.recall)}:
            raise ValueError("every curve must have a precision for every recall")
        return self


class Evaluation(_Frozen):
    """The accuracy of a pass. An undefined number is None.

    `stats` are the numbers of record; the rest is computed by the evaluator that checks them.
    `disagreements` names where the two differ.
    """

    format: Literal[3] = 3
    evaluators: Evaluators
    sources: Sources
    disagreements: list[str] = []
    pictures: int
    detections: int
    stats: dict[str, _Finite | None]
    per_category: list[CategoryAp]
    pr_curves: dict[Literal["iou50", "iou75"], Curves]

    @field_validator("stats")
    @classmethod
    def _all_numbers(cls, value: dict[str, float | None]) -> dict[str, float | None]:
        if set(value) != set(STATS):
            raise ValueError("must be the 12 numbers of COCO's leaderboard")
        return value

    @field_validator("pr_curves")
    @classmethod
    def _both_thresholds(cls, value: dict[str, Curves]) -> dict[str, Curves]:
        if set(value) != {"iou50", "iou75"}:
            raise ValueError("must be the curves of IoU 0.50 and 0.75")
        return value


def write(evaluation: Evaluation, path: Path) -> None:
    """Writes evaluation.json; equal evaluations give equal bytes."""
    text = json.dumps(evaluation.model_dump(mode="json"), ensure_ascii=False, indent=None)
    write_text(path, text + "\n")


def read(path: Path) -> Evaluation:
    """Reads evaluation.json.

    Raises:
        CascadeportError: It cannot be read, or is not in this version's format.
    """
    remedy = "Evaluate again: remove the folder 'evaluate' and run the same command."
    content = read_bytes(path, "evaluation", limit=RECORD_LIMIT, next=remedy)
    try:
        return Evaluation.model_validate_json(content)
    except ValidationError as error:
        details = [
            f"{'.'.join(map(str, found['loc'])) or 'file'}: {found['msg']}"
            for found in error.errors(include_url=False)[:10]
        ]
        raise CascadeportError(
            "The evaluation is not in the format of this version.",
            where=str(path),
            details=details,
            next=remedy,
        ) from None
