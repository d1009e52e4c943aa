"""A folder of scenes in COCO layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_text
from cascadeport.scenes.annotate import annotation
from cascadeport.scenes.files import Storage, write
from cascadeport.scenes.scene import compose
from cascadeport.scenes.shapes import CATEGORIES

SHORTEST, LONGEST = 200, 420
"""Sides of the pictures, in pixels."""

CYCLE = 25
"""Special pictures recur in a fixed cycle: any 25 consecutive pictures include all kinds."""


@dataclass(frozen=True)
class SceneRecipe:
    """What is special about one picture."""

    name: str
    storage: Storage
    empty: bool = False
    crowd: bool = False


def image_id(index: int) -> int:
    """Picture ids that, like COCO's, neither start at 0 nor are consecutive."""
    return 139 + 7 * index


def recipe(index: int) -> SceneRecipe:
    """How picture number `index` is stored, and what it contains."""
    slot, turn = index % CYCLE, index // CYCLE
    number = image_id(index)
    plain = f"{number:012d}"
    if slot == 1:
        return SceneRecipe(plain, Storage(mode="L"))
    if slot == 4:
        return SceneRecipe(plain, Storage(orientation=(6, 8, 3, 5, 7, 2, 4)[turn % 7]))
    if slot == 7:
        return SceneRecipe(plain, Storage(mode="CMYK"))
    if slot == 10:
        return SceneRecipe(plain, Storage(suffix=".png"))
    if slot == 13:
        return SceneRecipe(plain, Storage(), empty=True)
    if slot == 16:
        return SceneRecipe(f"a scene with spaces {number}", Storage())
    if slot == 18:
        return SceneRecipe(f"Größe-日本-ñandú-{number}", Storage())
    if slot in (20, 23):
        return SceneRecipe(plain, Storage(), crowd=True)
    return SceneRecipe(plain, Storage(quality=(75, 85, 95)[index % 3]))


def _sides(rng: np.random.Generator, index: int) -> tuple[int, int]:
    """Width and height, alternately landscape, portrait and square."""
    long = int(rng.integers(SHORTEST + 60, LONGEST + 1))
    short = int(rng.integers(SHORTEST, long - 30))
    return ((long, short), (short, long), (long, long))[index % 3]


def _refuse_leftovers(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CascadeportError(
            "The folder for the scenes is not empty.",
            where=str(folder),
            next="Name a new folder, or remove this one first.",
        )


def generate(
    folder: Path,
    count: int,
    seed: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw `count` scenes into `folder`: `val2017/` and `annotations/instances_val2017.json`.

    Equal counts and seeds give equal bytes (with the same Pillow and OpenCV), and picture number i
    does not depend on the count. The annotation file is written last.

    Args:
        folder: A folder that is empty or does not exist yet.
        count: Number of pictures, at least 1.
        seed: 0 or more; another seed gives other pictures.
        progress: Called with (done, total) after every picture.

    Raises:
        CascadeportError: The folder is not empty, or count or seed is out of range.
    """
    if count < 1 or seed < 0:
        raise CascadeportError(
            "Scenes need a count of at least 1 and a seed of at least 0.",
            where=f"count {count}, seed {seed}",
            next="Use --count 1 or more and --seed 0 or more.",
        )
    _refuse_leftovers(folder)
    pictures = folder / "val2017"
    pictures.mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        special = recipe(index)
        width, height = _sides(rng, index)
        scene = compose(rng, width, height, empty=special.empty, crowd=special.crowd)
        name = special.name + special.storage.suffix
        write(scene.picture, pictures / name, special.storage)
        number = image_id(index)
        images.append(
            {"id": number, "file_name": name, "width": width, "height": height, "license": 1}
        )
        for thing in scene.things:
            annotations.append(annotation(thing, 1000 + len(annotations), number))
        if progress:
            progress(index + 1, count)
    text = json.dumps(_document(images, annotations, seed), separators=(",", ":"))
    write_text(folder / "annotations" / "instances_val2017.json", text + "\n")


def _document(
    images: list[dict[str, Any]], annotations: list[dict[str, Any]], seed: int
) -> dict[str, Any]:
    return {
        "info": {
            "description": f"Cascadeport scenes, {len(images)} pictures, seed {seed}",
            "version": "1",
        },
        "licenses": [{"id": 1, "name": "CC0-1.0", "url": ""}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"id": category.id, "name": category.name, "supercategory": category.supercategory}
            for category in CATEGORIES
        ],
    }
