"""What is kept of an annotation file."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Category:
    """A category by the id that annotations and detections give it."""

    id: int
    name: str


@dataclass(frozen=True)
class Item:
    """A picture: its id, its file below the pictures' folder, and its size in pixels."""

    id: int
    file: str
    width: int
    height: int
