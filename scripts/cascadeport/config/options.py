"""What the user asked for, in one place. Everything that has a default gets it here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cascadeport.base.paths import REPOSITORY


@dataclass(frozen=True)
class Options:
    """The resolved options of one command.

    Args:
        target: A name in targets.toml.
        model: A name in models/ or the path of a card; None: the target's default.
        data: A name in models/data/ or a folder in COCO layout; None: the target's default.
        pictures: The folder of pictures below a data folder.
        annotations: The annotation file below a data folder.
        checkpoint: The user's own copy of the card's checkpoint.
        random_weights: Export random weights of this seed instead of a checkpoint.
        limit: Use only the first N pictures.
        keep_going: Count and list pictures that cannot be read instead of stopping.
        engine: "local" or "docker"; None: the target's default.
        simulate: Run an Ascend target on the stand-in for CANN.
        bins: Run an Ascend target by the vendor's ais_infer and `.bin` files.
        proposals: How many proposals the RPN keeps at most; None: the target's default.
        nms_levels: "within" or "across"; None: the target's default.
        nms_precision: "float32" or "float16"; None: the target's default.
        precision: "float32" or "float16": what the network computes in; None: the target's default.
        threads: Threads of the network on a CPU; None: one per core.
        repeats: Timed passes over the first pictures, for the spread.
        keep_failed: Leave what a failed stage wrote, and its container, for a look.
        build: Where products that several runs share are kept.
        results: Where results are written.
    """

    target: str = "cpu"
    model: str | None = None
    data: str | None = None
    pictures: str | None = None
    annotations: str | None = None
    checkpoint: Path | None = None
    random_weights: int | None = None
    limit: int | None = None
    keep_going: bool = False
    engine: str | None = None
    simulate: bool = False
    bins: bool = False
    proposals: int | None = None
    nms_levels: str | None = None
    nms_precision: str | None = None
    precision: str | None = None
    threads: int | None = None
    repeats: int = 3
    keep_failed: bool = False
    build: Path = field(default_factory=lambda: REPOSITORY / "build")
    results: Path = field(default_factory=lambda: REPOSITORY / "results")
    models: Path = field(default_factory=lambda: REPOSITORY / "models")
    targets: Path = field(default_factory=lambda: REPOSITORY / "targets.toml")
