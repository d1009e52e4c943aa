"""Compiles card, target and data set into the job that the bundle reads (docs/architecture.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bundle.job import AUTO
from cascadeport.base.errors import CascadeportError
from cascadeport.config.cards import MULTIPLE, Card
from cascadeport.config.options import Options
from cascadeport.core.backend import Backend
from cascadeport.datasets import Dataset

FORMAT = 3
# Pictures that a repeat passes over: enough for a stable mean, and on a slow device not hours.
_REPEAT_PICTURES = 200
_WARMUP = 5


def settings(card: Card, backend: Backend[Any], options: Options, threads: int) -> dict[str, Any]:
    """The part of the job that does not depend on paths: it enters the stage's key."""
    return {
        "format": FORMAT,
        "input": network_input(card, backend.pictures(options)),
        "outputs": {"boxes": card.output.boxes, "labels": card.output.labels},
        "preprocess": {
            "mean": list(card.input.mean),
            "std": list(card.input.std),
            "channels": card.input.channels,
            "padding": card.input.padding,
        },
        "postprocess": {
            "score_threshold": card.output.score_threshold,
            "max_detections": card.output.max_detections,
        },
        "classes": [item.model_dump() for item in card.classes],
        "runner": {
            "threads": threads,
            **_streams(backend, options, threads),
            **backend.runner(options),
        },
        "stream": {"workers": AUTO, "queue": 4},
        "measure": {
            "warmup": _WARMUP,
            # A shard's repeats would be idle time of the fleet.
            "repeats": options.repeats if options.shards is None else 1,
            "repeat_pictures": _REPEAT_PICTURES,
        },
        "keep_going": options.keep_going,
        "draw": 0,
    }


def _streams(backend: Backend[Any], options: Options, threads: int) -> dict[str, Any]:
    streams = backend.streams(options)
    if streams is None:
        return {}
    if isinstance(streams, int) and streams > threads:
        raise CascadeportError(
            f"{streams} pictures at once cannot share {threads} threads.",
            where=f"--streams {streams}",
            next=f"Give at most {threads}, or more --threads.",
        )
    return {"streams": streams}


def network_input(card: Card, pictures: int = 1) -> dict[str, Any]:
    """The job's `input`, of networks that take so many pictures at once."""
    found = {
        "name": card.input.name,
        "dtype": card.input.dtype,
        "shapes": [list(shape) for shape in card.input.canvases],
        "resize": list(card.input.edges),
    }
    several = {"pictures": pictures} if pictures > 1 else {}
    own = {"multiple": MULTIPLE} if card.input.own_shapes else {}
    return {**found, **several, **own}


def compile_job(
    settings: Mapping[str, Any],
    dataset: Dataset,
    *,
    models: Sequence[tuple[str, str]],
    pictures: str,
    single: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Completes the job: settings, networks and pictures.

    Args:
        settings: What `settings` gave.
        models: Path and sha256 of the network of each shape, or of one for all. Paths are as the
            bundle will see them.
        pictures: The pictures' folder, likewise.
        single: Networks for one picture at a time where `models` take several, likewise.
    """
    return {
        **settings,
        "networks": [{"path": path, "sha256": sha256} for path, sha256 in models],
        **(
            {"single": [{"path": path, "sha256": sha256} for path, sha256 in single]}
            if single
            else {}
        ),
        "pictures": {
            "root": pictures,
            "items": [
                {"id": item.id, "file": item.file, "width": item.width, "height": item.height}
                for item in dataset.items
            ],
        },
    }


def check_categories(card: Card, dataset: Dataset) -> None:
    """Compares the card's category ids and names with the data set's.

    Raises:
        CascadeportError: The card gives ids that the data set does not have, or other names to
            them: every detection of such a class would count as wrong.
    """
    names = {category.id: category.name for category in dataset.categories}
    details = []
    for index, item in enumerate(card.classes):
        if item.category_id not in names:
            details.append(
                f"classes[{index}] '{item.name}': the data set has no category {item.category_id}"
            )
        elif names[item.category_id] != item.name:
            details.append(
                f"classes[{index}]: category {item.category_id} is '{item.name}' in the card and "
                f"'{names[item.category_id]}' in the data set"
            )
    if details:
        raise CascadeportError(
            "The model card and the data set do not have the same categories.",
            where=f"card {card.name}, annotations {dataset.annotations_path}",
            details=details,
            next="Correct category_id and name in the card's classes.",
        )
