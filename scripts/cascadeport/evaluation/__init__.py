"""COCO mAP of a pass over exactly the expected pictures. See docs/evaluation.md."""

from cascadeport.evaluation.diagnosis import Marked, diagnose
from cascadeport.evaluation.metrics import evaluate
from cascadeport.evaluation.result import CategoryAp, Curves, Evaluation, Evaluator, read, write

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
