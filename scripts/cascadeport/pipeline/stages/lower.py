"""lower: from the card's graph to the graph that a target runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport import backends, graph
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.base.paths import PACKAGE
from cascadeport.base.reading import read_record
from cascadeport.config.cards import Card, Shape
from cascadeport.config.targets import Semantics
from cascadeport.core.backend import Backend, LoweringChoice
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource
from cascadeport.core.stage import Content, Network, Stage
from cascadeport.graph.lowering import RECORD
from cascadeport.pipeline.stages import export

NETWORK = "network.onnx"
VERIFICATION = "verification.json"


@dataclass(frozen=True)
class Graphs:
    """How a target gets its networks.

    Args:
        stages: What makes them, in order; empty for graphs that are ready.
        networks: One for every shape of the card.
        notes: What has to be said about it.
    """

    stages: tuple[Stage, ...]
    networks: tuple[Network, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """A neutral graph.

    Args:
        path: The file, which exists once the stages that make it are done.
        digest: Of its content.
        folder: The folder with PyTorch's own detections, which it is verified by; None: it came
            without them.
    """

    path: Path
    digest: str | Content
    folder: Path | None = None


def stages(context: Context, card: Card, semantics: Semantics, source: DataSource) -> Graphs:
    """Plans what leads to the target's networks.

    Raises:
        CascadeportError: The card's graph does not obey the contract, or cannot be lowered as
            requested.
    """
    if card.graph is not None and card.graph.kind == "ready":
        return _ready(context, card)
    if card.graph is None:
        assert card.checkpoint is not None
        before = export.stages(context, card, card.checkpoint, source)
        exported = [stage for stage in before if stage.name == "export"]
        graphs = [
            Exported(one.folder / export.NEUTRAL, Content(one.folder / export.NEUTRAL), one.folder)
            for one in exported
        ]
    else:
        before = ()
        files = [card.file(one.path) for one in card.graph.all]
        graphs = [Exported(path, digest.of_file(path)) for path in files]
    choice = backends.of(context.target).lowering(context.engine.name)
    lowered = [
        _lower(context, card, shape, neutral, choice, semantics)
        for shape, neutral in zip(card.input.canvases, graphs, strict=True)
    ]
    networks = tuple(
        Network(one.folder / NETWORK, Content(one.folder / NETWORK)) for one in lowered
    )
    converted = [
        backends.of(context.target).conversion(context, card, shape, one, one.folder / NETWORK)
        for shape, one in zip(card.input.canvases, lowered, strict=True)
    ]
    found = [one for one in converted if one is not None]
    if found:
        networks = tuple(
            Network(stage.folder / file, Content(stage.folder / file)) for stage, file in found
        )
    made = (*before, *lowered, *(stage for stage, _ in found))
    return Graphs(made, networks, choice.notes)


def _ready(context: Context, card: Card) -> Graphs:
    """A graph that runs as it is; it is checked before anything starts."""
    backends.of(context.target).accept(card)
    options = context.options
    given = {
        "--proposals": options.proposals,
        "--nms-levels": options.nms_levels,
        "--nms-precision": options.nms_precision,
        "--precision": options.precision,
    }
    said = " ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    if said:
        raise CascadeportError(
            f"The graph of '{card.name}' is ready as it is; its meaning cannot be changed.",
            where=said,
            next="Leave that out, or use a model with a neutral graph or a checkpoint.",
        )
    assert card.graph is not None
    paths = [card.file(one.path) for one in card.graph.all]
    for path, shape in zip(paths, card.input.canvases, strict=True):
        graph.check_contract(
            path,
            input=card.input.name,
            boxes=card.output.boxes,
            labels=card.output.labels,
            dtype=card.input.dtype,
            size=shape,
        )
    return Graphs((), tuple(Network(path, digest.of_file(path)) for path in paths))


def _lower(
    context: Context,
    card: Card,
    shape: Shape,
    neutral: Exported,
    choice: LoweringChoice,
    semantics: Semantics,
) -> Stage:
    lowering = choice.lowering
    suffix = card.input.suffix(shape)
    parts = (lowering.name + suffix, semantics.name)
    product = context.options.build / "models" / card.name / "-".join(filter(None, parts))
    request = graph.LoweringRequest(
        dtype=card.input.dtype,
        mean=card.input.mean,
        std=card.input.std,
        proposals=semantics.proposals,
        across_levels=_flag(semantics.nms_levels, "across"),
        half_nms=_flag(semantics.nms_precision, "float16"),
        precision=semantics.precision,
    )

    def work(context: Context, folder: Path) -> None:
        done = lowering.lower(neutral.path, folder / NETWORK, request)
        write_json(folder / RECORD, done.record)
        if neutral.folder is not None:
            summary, *pictures = _verify(context, neutral, folder, done)
            context.reporter.line("verified", f"{summary}; {product / VERIFICATION}")
            for line in pictures:
                context.reporter.line("", line)

    return Stage(
        name="lower",
        title=f"lower {card.name}{suffix} for {lowering.name}",
        folder=product,
        parameters={
            "lowering": lowering.name,
            "semantics": semantics.model_dump(),
            "dtype": card.input.dtype,
            "mean": list(card.input.mean),
            "std": list(card.input.std),
        },
        inputs={
            "graph": neutral.digest,
            "passes": digest.of_sources(PACKAGE / "graph"),
            "lowering": digest.of_sources(PACKAGE / "backends" / context.target.backend),
        },
        work=work,
    )


def _verify(context: Context, neutral: Exported, folder: Path, done: graph.Lowered) -> list[str]:
    """Compares the lowering with PyTorch's own detections, and leaves the report.

    A graph whose meaning was changed is not meant to detect what PyTorch does: then the same
    lowering without those changes is compared. Where only the device runs even that, the export
    is verified without the lowering.

    Returns:
        What was compared, in lines.
    """
    assert neutral.folder is not None
    scratch = folder / "faithful.onnx"
    backend = backends.of(context.target)
    try:
        compared = done
        if done.changes:
            lowering = backends.lowering(done.lowering)
            compared = lowering.lower(neutral.path, scratch, backend.faithful)
        session = backend.session(compared.path, compared.lowering)
        if session is None:
            reference: Backend[Any] = backends.reference(context.target)
            compared = reference.lowering("local").lowering.lower(neutral.path, scratch)
            session = reference.session(compared.path, compared.lowering)
            assert session is not None
        verification = graph.verify(session, done.path.name, neutral.folder)
    finally:
        scratch.unlink(missing_ok=True)
    verification.write(folder / VERIFICATION)
    verification.require_passed()
    return [verification.summary, *verification.lines]


def _flag(value: str | None, yes: str) -> bool | None:
    return None if value is None else value == yes


def records(stages: Sequence[Stage]) -> dict[str, Content]:
    """The records of the lowering, by names for a stage that reads them."""
    made = [stage.folder / RECORD for stage in stages if stage.name == "lower"]
    return {f"lowering-{path.parent.name}": Content(path) for path in made}


def changes(stages: Sequence[Stage]) -> list[str]:
    """The changes of meaning that the lowering declared."""
    for stage in stages:
        if stage.name == "lower":
            path = stage.folder / RECORD
            remedy = f"Remove {stage.folder} and run the same command again."
            changes = read_record(path, "record of the lowering", next=remedy).get("changes")
            if not isinstance(changes, list):
                raise CascadeportError(
                    "The record of the lowering is not in the format of this version.",
                    where=f"{path}: changes",
                    next=remedy,
                )
            return [str(change) for change in changes]
    return []
