"""Counts what a folder of scenes contains: python -m cascadeport.scenes.facts FOLDER"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

SMALL, MEDIUM = 32**2, 96**2
"""The limits of COCO's size classes, in square pixels."""


def _overlap(a: list[float], b: list[float]) -> float:
    """The number of pixels that two boxes x,y,w,h share."""
    across = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    down = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0.0, across) * max(0.0, down)


def count(document: dict[str, Any]) -> dict[str, str]:
    """Counts of an annotation file's content, in display order."""
    images = {image["id"]: image for image in document["images"]}
    names = {category["id"]: category["name"] for category in document["categories"]}
    single = [a for a in document["annotations"] if not a["iscrowd"]]
    crowds = [a for a in document["annotations"] if a["iscrowd"]]
    together: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in document["annotations"]:
        together[annotation["image_id"]].append(annotation)

    shapes = Counter(int(np.sign(i["width"] - i["height"])) for i in images.values())
    sides = [side for i in images.values() for side in (i["width"], i["height"])]
    areas = np.array([a["area"] for a in single])
    long_sides = np.array([max(a["bbox"][2:]) for a in single])
    shares = np.array(
        [
            a["bbox"][2]
            * a["bbox"][3]
            / images[a["image_id"]]["width"]
            / images[a["image_id"]]["height"]
            for a in single
        ]
    )
    classes = Counter(names[a["category_id"]] for a in single)
    overlapped = {
        a["id"]
        for group in together.values()
        for a, b in permutations(group, 2)
        if _overlap(a["bbox"], b["bbox"]) > 0
    }
    quantiles = np.percentile(long_sides, [0, 5, 25, 50, 75, 95, 100]).round().astype(int)
    return {
        "pictures": f"{len(images)}; sides {min(sides)} to {max(sides)} px",
        "landscape, portrait, square": f"{shapes[1]}, {shapes[-1]}, {shapes[0]}",
        "without objects": str(len(images) - len(together)),
        "single objects": f"{len(single)}; "
        + ", ".join(f"{name} {number}" for name, number in sorted(classes.items())),
        "crowds": f"{len(crowds)}, in {len({a['image_id'] for a in crowds})} pictures",
        "small, medium, large (COCO's area classes)": f"{int((areas < SMALL).sum())}, "
        f"{int(((areas >= SMALL) & (areas < MEDIUM)).sum())}, {int((areas >= MEDIUM).sum())}",
        "long side of boxes, px (least, 5 %, 25 %, 50 %, 75 %, 95 %, most)": ", ".join(
            map(str, quantiles)
        ),
        "box longer than half the picture's short side": str(
            sum(
                side > min(images[a["image_id"]]["width"], images[a["image_id"]]["height"]) / 2
                for a, side in zip(single, long_sides, strict=True)
            )
        ),
        "box over a quarter of the picture": str(int((shares > 0.25).sum())),
        "box overlaps another": str(sum(a["id"] in overlapped for a in single)),
    }


def main(arguments: list[str]) -> int:
    """Print the facts as a table in Markdown."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    file = Path(arguments[0]) / "annotations" / "instances_val2017.json"
    facts = count(json.loads(file.read_text(encoding="utf-8")))
    print("| | |\n| --- | --- |")
    for name, value in facts.items():
        print(f"| {name} | {value} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
