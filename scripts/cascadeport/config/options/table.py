"""The options. A new one is an entry here; `make docs` then writes what is made from the table.

An entry's name is its name everywhere: `keep_going` is `--keep-going` on the command line and
`KEEP_GOING=` for make. Options that only some backends understand are named by
`Backend.supported`; the other targets refuse them.
"""

# ruff: noqa: RUF009  `option` is a dataclass's `field` with a declaration in it.

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascadeport.base.paths import REPOSITORY
from cascadeport.config.options.declare import of, option


@dataclass(frozen=True)
class Options:
    """The user's options for one target. Everything that has a default gets it here."""

    target: str = option("a row of `targets.toml`; `cpu` unless given", "NAME", default="cpu")
    model: str | None = option(
        "a card in `models/`, or the path of your own; the target's own unless given", "NAME"
    )
    data: str | None = option(
        "a description in `models/data/`, or a folder in COCO layout; the model card's own unless "
        "given",
        "NAME",
    )
    pictures: str | None = option(
        "the folder of pictures below the data folder; `val2017` unless given", "NAME"
    )
    annotations: str | None = option(
        "the annotation file below the data folder; `annotations/instances_val2017.json` unless "
        "given",
        "NAME",
    )
    checkpoint: Path | None = option(
        "your own copy of the card's checkpoint instead of a download; its sha256 must be the "
        "card's. The graph is exported from it, also where the card has one "
        "([export.md](export.md))",
        "FILE",
    )
    random_weights: int | None = option(
        "export random weights instead of a checkpoint, for work on speed and parity; a model of "
        "its own, named so everywhere. `0` is a seed as well. Not together with `--checkpoint`",
        "SEED",
        minimum=0,
    )
    limit: int | None = option(
        "only the first N pictures by id; the results say so in their folder's name",
        "N",
        minimum=1,
    )
    keep_going: bool = option(
        "list pictures that cannot be read and go on; the result is then INVALID", default=False
    )
    engine: str | None = option(
        "where commands run; the target's own unless given",
        "ENGINE",
        choices=("local", "docker"),
    )
    simulate: bool = option("run an Ascend target on a stand-in for CANN", default=False)
    bins: bool = option(
        "run an Ascend target with the vendor's `ais_infer` and `.bin` files "
        "([containers.md](containers.md)); a row of its own",
        default=False,
    )
    proposals: int | None = option(
        "how many proposals the RPN keeps at most; changes the model's meaning, so the result has "
        "a row of its own ([lowering.md](lowering.md))",
        "N",
        minimum=1,
    )
    nms_levels: str | None = option(
        "NMS of proposals within each pyramid level or across all; a row of its own",
        "LEVELS",
        choices=("within", "across"),
    )
    nms_precision: str | None = option(
        "the precision of boxes and scores in NMS; a row of its own",
        "PRECISION",
        choices=("float32", "float16"),
    )
    precision: str | None = option(
        "the precision that the network computes in, where its lowering has a choice; a row of "
        "its own",
        "PRECISION",
        choices=("float32", "float16"),
    )
    threads: int | None = option(
        "threads of the network on a CPU; one per core unless given", "N", minimum=1
    )
    repeats: int = option(
        "timed passes over the first 200 pictures, for the spread; 3 unless given",
        "N",
        default=3,
        minimum=1,
    )
    keep_failed: bool = option(
        "keep what a failed stage wrote, as `STAGE.failed`, and its container", default=False
    )
    build: Path = option(
        "where products that several runs share are kept; `build/` unless given",
        "FOLDER",
        default=lambda: REPOSITORY / "build",
        absolute=True,
    )
    results: Path = option(
        "where results are written; `results/` unless given",
        "FOLDER",
        default=lambda: REPOSITORY / "results",
        absolute=True,
    )
    # For tests; not on the command line.
    models: Path = field(default_factory=lambda: REPOSITORY / "models")
    targets: Path = field(default_factory=lambda: REPOSITORY / "targets.toml")


@dataclass(frozen=True)
class Request:
    """What a command line says besides `Options`."""

    targets: str | None = option(
        "several targets: side by side where their hosts differ ([hosts.md](hosts.md)), in turn "
        "where they share one",
        "NAMES",
    )
    dry_run: bool = option("print the plan, and run nothing", default=False)
    json: bool = option("print JSON, for programs", default=False)
    debug: bool = option("show the traceback of an error", default=False)


ALL = (*of(Options), *of(Request))
"""Every option there is."""


def words(options: Options) -> list[str]:
    """The words of a command line that ask for these options; defaults are left out."""
    return [word for each in of(Options) for word in each.words(getattr(options, each.field))]


def read(values: dict[str, Any]) -> tuple[Options, Request]:
    """Options and request of the values that were given, by field."""
    own = {each.field for each in of(Request)}
    return (
        Options(**{key: value for key, value in values.items() if key not in own}),
        Request(**{key: value for key, value in values.items() if key in own}),
    )
