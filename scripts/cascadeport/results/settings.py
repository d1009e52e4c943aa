"""The card's settings that a pass ran with: rows are comparable only if they are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OWN_SHAPES = "own shapes"
FRAME = ("input shapes", "resize", OWN_SHAPES)
"""Those that a user can ask to be others than the card's: SHAPES= and RESIZE=."""

# The settings of a job that change what is detected, and how tables name them.
_NAMES = {
    ("input", "shapes"): "input shapes",
    ("input", "resize"): "resize",
    ("input", "dtype"): "input type",
    ("preprocess", "mean"): "mean",
    ("preprocess", "std"): "std",
    ("preprocess", "channels"): "channels",
    ("preprocess", "padding"): "padding",
    ("postprocess", "score_threshold"): "score threshold",
    ("postprocess", "max_detections"): "detections per picture",
    ("classes",): "classes",
}


def of_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a job that change what is detected, by the names that tables give them."""
    found = {}
    for path, name in _NAMES.items():
        value: Any = job
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        found[name] = value
    own = job.get("input")
    if isinstance(own, Mapping) and "multiple" in own:
        found[OWN_SHAPES] = own["multiple"]
    return found


def different(settings: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """The names of the settings that are not the same."""
    return [name for name in {**others, **settings} if settings.get(name) != others.get(name)]
