"""COCO mAP of a pass over exactly the expected pictures. See docs/evaluation.md."""

from cascadeport.evaluation.coco_files import Detected, load
from cascadeport.evaluation.diagnosis import Marked, diagnose
from cascadeport.evaluation.fast import Size
from cascadeport.evaluation.matches import CategoryMatches, Matches, match
from cascadeport.evaluation.metrics import EVALUATORS, evaluate
from cascadeport.evaluation.result import (
    CategoryAp,
    Curves,
    Evaluation,
    Evaluator,
    Evaluators,
    Sources,
    read,
    write,
)

__all__ = [
    "EVALUATORS",
    "CategoryAp",
    "CategoryMatches",
    "Curves",
    "Detected",
    "Evaluation",
    "Evaluator",
    "Evaluators",
    "Marked",
    "Matches",
    "Size",
    "Sources",
    "diagnose",
    "evaluate",
    "load",
    "match",
    "read",
    "write",
]
