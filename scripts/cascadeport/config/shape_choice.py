"""Chooses a few fixed shapes for a data set, so that little of the networks' input is padding.

A picture goes to the smallest shape that it fits into. What is minimised is the sum of the shapes'
pixels over all pictures. The shapes for the widest and the highest picture that there could be are
always among them: a network that will meet other pictures has to take them too. Beginning with
those, the shape that saves most is added until there are enough; then each of the others is
exchanged for one that saves more, as long as there is one. Candidates are all combinations of the
heights and widths that pictures have, rounded up to multiples of 32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cascadeport.base.errors import CascadeportError
from cascadeport.config.cards import MULTIPLE, Shape, bounds

Pixels = NDArray[np.int64]
_NEVER = np.iinfo(np.int64).max // 4


def choose(
    sizes: Sequence[tuple[int, int]], edges: tuple[int, int], count: int
) -> tuple[Shape, ...]:
    """Chooses shapes.

    Args:
        sizes: Width and height of every picture in pixels.
        edges: What the long and the short edge of a resized picture are at most.
        count: How many shapes there may be.

    Returns:
        At most `count` shapes (rows, columns), smallest first; fewer where more would save nothing.

    Raises:
        CascadeportError: There have to be more.
    """
    always = bounds(edges)
    if count < len(always):
        raise CascadeportError(
            f"{count} shape cannot take both wide and high pictures of {edges[0]}x{edges[1]}.",
            where=f"--shapes auto:{count}",
            next=f"At least {len(always)} are needed, one for each orientation; or give RESIZE= a "
            "single edge.",
        )
    needed = Counter(own_shape(size, edges) for size in sizes)
    heights = sorted({shape[0] for shape in needed})
    widths = sorted({shape[1] for shape in needed})
    candidates = [(height, width) for height in heights for width in widths]
    costs = {shape: _costs(shape, needed) for shape in {*candidates, *always}}
    weights = np.array(list(needed.values()), np.int64)
    chosen = list(always)

    def total(shapes: Sequence[Shape]) -> int:
        return int((np.min([costs[one] for one in shapes], axis=0) * weights).sum())

    while candidates and len(chosen) < count:
        best = min(candidates, key=lambda one: (total([*chosen, one]), one))
        if total([*chosen, best]) >= total(chosen):
            break
        chosen.append(best)
    improved = True
    while improved:
        improved = False
        for index in range(len(always), len(chosen)):
            others = chosen[:index] + chosen[index + 1 :]
            best = min(candidates, key=lambda one: (total([*others, one]), one))
            if total([*others, best]) < total(chosen):
                chosen[index], improved = best, True
    return tuple(sorted(chosen, key=lambda shape: (shape[0] * shape[1], shape)))


def own_shape(size: tuple[int, int], edges: tuple[int, int]) -> Shape:
    """The shape (rows, columns) of a picture of that width and height in its own padding.

    The resized size is the bundle's (bundle/geometry.py).
    """
    long, short = edges
    scale = min(long / max(size), short / min(size))
    width, height = (max(1, int(edge * scale + 0.5)) for edge in size)
    return -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE


def _costs(shape: Shape, needed: Counter[Shape]) -> Pixels:
    """The pixels of that shape for each kind of picture; very many where it does not fit."""
    return np.array(
        [
            shape[0] * shape[1] if one[0] <= shape[0] and one[1] <= shape[1] else _NEVER
            for one in needed
        ],
        np.int64,
    )
