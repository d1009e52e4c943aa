"""The bundle's job as benchmarks need it: what they do not choose is as on the R101's card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle.job import FORMAT, Job, check_job


def make_job(folder: Path, **sections: Any) -> Job:
    """A checked job.

    Args:
        folder: Where relative paths of the job start.
        sections: Whole sections of the job that differ from the ones here. `networks`, `input`,
            `classes` and `pictures` have to be among them.
    """
    content = {
        "format": FORMAT,
        "outputs": {"boxes": "boxes", "labels": "labels"},
        "preprocess": {
            "mean": [123.675, 116.28, 103.53],
            "std": [58.395, 57.12, 57.375],
            "channels": "rgb",
            "padding": "centre",
        },
        "postprocess": {"score_threshold": 0.05, "max_detections": 100},
        "runner": {"name": "onnxruntime", "threads": 1, "options": {}},
        "stream": {"workers": 1, "queue": 4},
        "measure": {"warmup": 3, "repeats": 1, "repeat_pictures": 1},
        "keep_going": False,
        "draw": 0,
    }
    return check_job({**content, **sections}, str(folder))
