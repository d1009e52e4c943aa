"""`cascadeport plan --pictures N --devices NAME=COUNT`: an estimate before there is hardware."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from cascadeport import backends
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.commands.opening import opened
from cascadeport.config import targets
from cascadeport.config.options import Options, Request
from cascadeport.config.targets import Target
from cascadeport.estimate import devices, figures, model, text
from cascadeport.estimate.model import Question
from cascadeport.pipeline.planner import plan
from cascadeport.ship import manifest

# As bundle/shards.py has it.
_MOST_SHARDS = 100_000


def estimate(options: Options, request: Request, reporter: Reporter) -> ExitCode:
    """Prints the estimate.

    Raises:
        CascadeportError: A number cannot be read, or there is no figure of a device.
    """
    question = Question(
        pictures=devices.pictures(options.pictures),
        devices=devices.parse(request.devices or ""),
        shards=options.shards,
        cores=request.cores,
        storage=devices.size(request.storage, "--storage") if request.storage else None,
        hosts=request.hosts or 1,
    )
    if question.shards is not None and question.shards > min(question.pictures, _MOST_SHARDS):
        raise CascadeportError(
            "There are more shards than pictures."
            if question.shards > question.pictures
            else f"There are at most {_MOST_SHARDS} shards.",
            where=f"--shards {question.shards}",
            next="Take as many as there are devices, or some more.",
        )
    rows = targets.load(options.targets, backends.row)
    first = _target(next(iter(question.devices)), rows)
    # With devices, --pictures is how many there are; the folder is the data set's own.
    options = replace(options, target=first, pictures=None, shards=None)
    with opened(options, reporter) as context:
        made = plan(context)
        known = figures.gather(made, context, list(question.devices))
        if request.picture_size is not None:
            mean = devices.size(request.picture_size, "--picture-size")
            known = replace(known, sizes=replace(known.sizes, picture=mean))
        image = _image_bytes(request.dist, made.card.name, next(iter(question.devices)))
        answer = model.estimate(question, known, image)
    if request.json:
        print(json.dumps(model.as_json(answer), indent=1, ensure_ascii=False))
    else:
        for line in text.lines(answer):
            print(line)
    return ExitCode.OK


def _target(name: str, known: Mapping[str, Target]) -> str:
    """The target of a row.

    Raises:
        CascadeportError: There is none.
    """
    found = targets.of_row(name, known)
    if found is None:
        targets.find(name, known)
    assert found is not None
    return found


def _image_bytes(dist: Path, name: str, row: str) -> int | None:
    """The size of the frozen image of a row, or of a row of its target; None: there is none."""
    found = [manifest.load(path.parent) for path in sorted(dist.glob(f"*/{manifest.NAME}"))]
    images = [
        one.image
        for one in found
        if one.name == name and (one.target == row or one.target.startswith(f"{row}-"))
    ]
    return sum(layer.size for layer in images[-1].layers) if images else None
