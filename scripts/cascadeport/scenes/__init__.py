"""Seeded scenes of drawn shapes in COCO layout: the demo's pictures."""

from cascadeport.scenes.dataset import generate
from cascadeport.scenes.shapes import CATEGORIES, Category

__all__ = ["CATEGORIES", "Category", "generate"]
