"""Data sets in COCO layout: their description, their checks and their digest. docs/datasets.md."""

from cascadeport.datasets.dataset import Dataset, load
from cascadeport.datasets.description import (
    ANNOTATIONS,
    PICTURES,
    ArchiveFile,
    Coco,
    Description,
    Scenes,
    describe,
)
from cascadeport.datasets.normalise import for_evaluation
from cascadeport.datasets.records import Category, Item

__all__ = [
    "ANNOTATIONS",
    "PICTURES",
    "ArchiveFile",
    "Category",
    "Coco",
    "Dataset",
    "Description",
    "Item",
    "Scenes",
    "describe",
    "for_evaluation",
    "load",
]
