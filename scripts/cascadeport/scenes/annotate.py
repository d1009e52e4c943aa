"""COCO annotations of the visible parts of things.

The format is that of cocodataset/cocoapi (PythonAPI/pycocotools/coco.py): boxes x,y,w,h in
pixels; polygons for single objects; for crowds run lengths, column by column, starting with
background.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from cascadeport.scenes.paint import Mask
from cascadeport.scenes.scene import Thing


def run_lengths(mask: Mask) -> list[int]:
    """Uncompressed COCO run lengths of a mask (h,w)."""
    flat = mask.flatten(order="F").astype(np.int8)
    changes = np.flatnonzero(np.diff(flat)) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    lengths: list[int] = np.diff(edges).tolist()
    return [0, *lengths] if flat[0] else lengths


def polygons(mask: Mask) -> list[list[float]]:
    """Outer contours of a mask (h,w) as COCO polygons x0,y0,x1,y1,... through pixel centres.

    Slivers with fewer than three corners are left out; only the box includes them.
    """
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [(contour.reshape(-1) + 0.5).tolist() for contour in found if contour.shape[0] >= 3]


def box(mask: Mask) -> list[int]:
    """The smallest box x,y,w,h around the set pixels of a mask (h,w)."""
    columns = np.flatnonzero(mask.any(axis=0))
    rows = np.flatnonzero(mask.any(axis=1))
    x, y = int(columns[0]), int(rows[0])
    return [x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1]


def annotation(thing: Thing, annotation_id: int, image_id: int) -> dict[str, Any]:
    """The COCO annotation of a thing: box, area and outline of its visible part."""
    segmentation: Any = polygons(thing.visible)
    if thing.crowd:
        size = [int(side) for side in thing.visible.shape]
        segmentation = {"counts": run_lengths(thing.visible), "size": size}
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": thing.category.id,
        "bbox": box(thing.visible),
        "area": int(np.count_nonzero(thing.visible)),
        "iscrowd": int(thing.crowd),
        "segmentation": segmentation,
    }
