"""The bundle's job for benchmarks; the defaults are those of the R101's card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bundle.job import FORMAT, Job, check_job


def make_job(folder: Path, **sections: Any) -> Job:
    """A checked job.

    Args:
        folder: The base of relative paths in the job.
        sections: Sections of the job that replace the defaults. `networks`, `input`, `classes` and
            `pictures` are required.
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
