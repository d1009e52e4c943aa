"""Cards for real and borrowed detectors, and how far two sets of detections agree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cascadeport.base import digest
from cascadeport.base.paths import REPOSITORY

DEMO_CARD = REPOSITORY / "models" / "demo.toml"
CLASSES = REPOSITORY / "models" / "classes" / "coco.toml"
NANODET = """
title = "NanoDet-m 416"
classes = "{classes}"
[input]
size = 416
mean = [103.53, 116.28, 123.675]
std = [57.375, 57.12, 58.395]
channels = "bgr"
[graph]
path = "{graph}"
sha256 = "{sha256}"
"""
# The demo's classes have category ids that COCO has too; these are COCO's names of them.
COCO_NAMES = {
    "disc": "person",
    "square": "car",
    "triangle": "motorcycle",
    "star": "train",
    "cross": "traffic light",
    "crescent": "bench",
    "heart": "elephant",
    "arrow": "toothbrush",
}


def nanodet(shared: Path, folder: Path) -> Path:
    """A card of the real detector beside the checkout."""
    graph = shared / "detector" / "nanodet_m.onnx"
    card = folder / "nanodet.toml"
    card.write_text(NANODET.format(classes=CLASSES, graph=graph, sha256=digest.of_file(graph)))
    return card


def demo_card(path: Path, *, dtype: str = "float32", coco: bool = False) -> Path:
    """The demo's card elsewhere: with another type of input, or with names of COCO's classes."""
    text = DEMO_CARD.read_text(encoding="utf-8")
    text = text.replace('"demo/', f'"{DEMO_CARD.parent}/demo/')
    text = text.replace("[input]\n", f'[input]\ndtype = "{dtype}"\n')
    if coco:
        for name, other in COCO_NAMES.items():
            text = text.replace(f'name = "{name}"', f'name = "{other}"')
    path.write_text(text, encoding="utf-8")
    return path


def agreement(
    ones: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], score: float = 0.1
) -> float:
    """The share of detections that have a counterpart: picture, class, score and box.

    Args:
        ones: COCO results; those below `score` are not asked for.
        others: Where counterparts are looked for, also somewhat below `score`.
    """
    asked = [one for one in ones if one["score"] >= score]
    assert asked, "nothing was detected at all"
    found = sum(any(_alike(one, other) for other in others) for one in asked)
    return found / len(asked)


def _alike(one: dict[str, Any], other: dict[str, Any]) -> bool:
    same = all(one[key] == other[key] for key in ("image_id", "category_id"))
    return same and abs(one["score"] - other["score"]) < 0.05 and _iou(one, other) > 0.9


def _iou(one: dict[str, Any], other: dict[str, Any]) -> float:
    (x, y, w, h), (a, b, c, d) = one["bbox"], other["bbox"]
    across = max(0.0, min(x + w, a + c) - max(x, a))
    down = max(0.0, min(y + h, b + d) - max(y, b))
    return float(across * down / (w * h + c * d - across * down))
