"""COCO mAP of a pass over exactly the expected pictures. See docs/evaluation.md."""

from cascadeport.evaluation.coco import evaluate
from cascadeport.evaluation.diagnosis import Marked, diagnose
from cascadeport.evaluation.model import CategoryAp, Curves, Evaluation, Evaluator, read, write

__all__ = [
    "CategoryAp",
    "Curves",
    "Evaluation",
    "Evaluator",
    "Marked",
    "diagnose",
    "evaluate",
    "read",
    "write",
]
