"""Drift: how the detections of two rows differ, picture by picture. docs/drift.md."""

from cascadeport.results.drift.drawing import draw
from cascadeport.results.drift.files import update
from cascadeport.results.drift.pairing import Difference, Kind, differences
from cascadeport.results.drift.record import NAME, Drift, Drifts, Extent, PictureDrift, Summary
from cascadeport.results.drift.tally import measure

__all__ = [
    "NAME",
    "Difference",
    "Drift",
    "Drifts",
    "Extent",
    "Kind",
    "PictureDrift",
    "Summary",
    "differences",
    "draw",
    "measure",
    "update",
]
