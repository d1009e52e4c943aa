"""What shapes a run's pictures have in the network: SHAPES= and RESIZE=, instead of the card's.

docs/shapes.md explains the choices and how `auto:N` chooses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from cascadeport.base.errors import CascadeportError
from cascadeport.config.cards import MULTIPLE, Card, Input, Shape, bounds
from cascadeport.config.options import Options
from cascadeport.config.shape_choice import choose

OWN, AUTO = "own", "auto"
#: Shapes beyond these are no small set any more.
MOST = 16

Sizes = Callable[[], Sequence[tuple[int, int]]]
"""Gives width and height of every picture of the data set."""


def is_asked(options: Options) -> bool:
    """Whether the run has other shapes or sizes than the card's."""
    return options.shapes is not None or options.resize is not None


def needs_sizes(options: Options) -> bool:
    """Whether the data set has to be there before a plan can be made."""
    return options.shapes is not None and options.shapes.startswith(AUTO)


def name(options: Options) -> str:
    """For the row's name; empty where the shapes are the card's."""
    parts = []
    if options.shapes is not None:
        shown = re.sub("[:,]", "-", options.shapes)
        parts.append(shown if options.shapes[:1].isdigit() else f"{shown}-shapes")
    if options.resize is not None:
        parts.append(f"to{options.resize}")
    return "-".join(parts)


def title(options: Options) -> str:
    """For the row's title, likewise."""
    parts = []
    if options.shapes == OWN:
        parts.append("every picture in a shape of its own")
    elif needs_sizes(options):
        count = _count(str(options.shapes))
        parts.append(f"{count} shapes chosen for the data set" if count > 1 else "one shape")
    elif options.shapes is not None:
        parts.append("in " + " or ".join(options.shapes.split(",")))
    if options.resize is not None:
        parts.append(f"pictures to {options.resize}")
    return ", ".join(parts)


def framed(card: Card, options: Options, sizes: Sizes) -> Card:
    """The card with the shapes and sizes that the user asks for.

    Its graph is still exported at the card's own shape, so that one export serves all.

    Raises:
        CascadeportError: They cannot be read, or do not go together.
    """
    if not is_asked(options):
        return card
    edges = _edges(options.resize) if options.resize is not None else card.input.edges
    update: dict[str, Any] = {"size": None, "resize": edges, "shapes": None, "own_shapes": False}
    if options.shapes == OWN:
        update["own_shapes"] = True
    elif needs_sizes(options):
        update["shapes"] = choose(sizes(), edges, _count(str(options.shapes)))
    elif options.shapes is not None:
        update["shapes"] = _shapes(options.shapes)
    elif edges[0] == edges[1] and edges[0] % MULTIPLE == 0:
        update.update(size=edges[0], resize=None)
    else:
        update["shapes"] = bounds(edges)
    if card.graph is not None and card.graph.kind == "ready":
        raise CascadeportError(
            f"The graph of '{card.name}' is ready as it is: its shape cannot be changed.",
            where=_said(options),
            next="Leave that out, or use a model with a neutral graph or a checkpoint.",
        )
    if card.graph is not None and len(card.graph.all) > 1:
        raise CascadeportError(
            f"The card '{card.name}' has a graph for each of its shapes; others are made of one.",
            where=_said(options),
            next="Leave that out, or give the card a single neutral graph ('path').",
        )
    try:
        changed = Input.model_validate({**card.input.model_dump(), **update})
    except ValidationError as error:
        raise CascadeportError(
            "Pictures of that size and these shapes do not go together: "
            + "; ".join(str(one["msg"]).removeprefix("Value error, ") for one in error.errors())
            + ".",
            where=_said(options),
            next="Give larger shapes, or smaller pictures (RESIZE=LONGxSHORT).",
        ) from error
    return card.model_copy(update={"input": changed, "exported_at": card.own_canvases})


def of_job(card: Card, job: Mapping[str, Any]) -> Card:
    """The card with the shapes that a job ran with (its `input`)."""
    given = job.get("input", {})
    edges = tuple(given.get("resize", card.input.edges))
    shapes = tuple(tuple(shape) for shape in given.get("shapes", card.input.canvases))
    own = bool(given.get("multiple"))
    if (shapes, edges, own) == (card.input.canvases, card.input.edges, card.input.own_shapes):
        return card
    update: dict[str, Any] = {"size": None, "resize": edges, "own_shapes": own}
    changed = card.input.model_copy(update={**update, "shapes": None if own else shapes})
    return card.model_copy(update={"input": changed, "exported_at": card.own_canvases})


def _count(text: str) -> int:
    found = re.fullmatch(rf"{AUTO}:(\d{{1,3}})", text)
    if not found or not 1 <= int(found[1]) <= MOST:
        raise CascadeportError(
            f"'{text}' does not say how many shapes there are to be.",
            where=f"--shapes {text}",
            next=f"Write auto:N with N from 1 to {MOST}.",
        )
    return int(found[1])


def _shapes(text: str) -> tuple[Shape, ...]:
    parts = text.split(",")
    if not all(re.fullmatch(r"\d{1,4}x\d{1,4}", part) for part in parts):
        raise CascadeportError(
            f"'{text}' is not a choice of shapes.",
            where=f"--shapes {text}",
            next="Write own, auto:N, or rows x columns of each: 800x1344,1344x800.",
        )
    # A picture takes the first that it fits into.
    found = [(int(rows), int(columns)) for rows, columns in (one.split("x") for one in parts)]
    return tuple(sorted(found, key=lambda shape: (shape[0] * shape[1], shape)))


def _edges(text: str) -> Shape:
    found = re.fullmatch(r"(\d{1,4})(?:x(\d{1,4}))?", text)
    edges = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not edges[0] >= edges[1] >= 1:
        raise CascadeportError(
            f"'{text}' is not a size for pictures.",
            where=f"--resize {text}",
            next="Write the long edge (1088), or the long and the short one (1333x800).",
        )
    return edges


def _said(options: Options) -> str:
    said = {"--shapes": options.shapes, "--resize": options.resize}
    return " ".join(f"{name} {value}" for name, value in said.items() if value is not None)
