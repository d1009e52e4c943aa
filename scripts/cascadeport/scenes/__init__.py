"""Seeded scenes of drawn shapes in COCO layout: the demo's pictures."""

from .dataset import generate
from .shapes import CATEGORIES, Category

__all__ = ["CATEGORIES", "Category", "generate"]
