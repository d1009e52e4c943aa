"""Generates the demo's pictures: seeded scenes of drawn shapes in COCO layout."""

from cascadeport.scenes.dataset import generate
from cascadeport.scenes.shapes import CATEGORIES, ShapeCategory

__all__ = ["CATEGORIES", "ShapeCategory", "generate"]
