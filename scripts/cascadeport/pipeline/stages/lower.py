"""lower: from the card's graph to the graph that a target runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from cascadeport.graph.lowering import RECORD, Lowering
from cascadeport.pipeline.stages import data, export, quantise

NETWORK = "network.onnx"
VERIFICATION = "verification.json"
INT8 = "int8"


@dataclass(frozen=True)
class Graphs:
    """How a target gets its networks.

    Args:
        stages: What makes them, in order; empty for graphs that are ready.
        networks: One for every shape of the card, or one that takes them all.
        notes: What has to be said about it.
        single: Where the networks take several pictures at once, those that take one.
    """

    stages: tuple[Stage, ...]
    networks: tuple[Network, ...]
    notes: tuple[str, ...] = ()
    single: tuple[Network, ...] = ()

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What the networks' names end in; empty if there is only one."""
        many = len(self.networks) > 1
        return tuple(_suffix(one.shape) if many else "" for one in self.networks)


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
    before, graphs = neutral_graphs(context, card, source)
    choice = backends.of(context.target).chosen_lowering(context.options, context.engine.name)
    gears = backends.of(context.target).takes_gears(context.options)
    wanted = shapes(card, choice.lowering, gears)
    at_once = _pictures(context, choice.lowering, semantics)
    if len(graphs) == 1:
        graphs *= len(wanted)
    lowered, networks = _lowered(context, card, wanted, graphs, choice, semantics, at_once)
    alone: list[Stage] = []
    single: tuple[Network, ...] = ()
    if at_once > 1:
        alone, single = _lowered(context, card, wanted, graphs, choice, semantics, 1)
    converted = [
        backends.of(context.target).conversion(context, card, shape, one, one.folder / NETWORK)
        for shape, one in zip(wanted, lowered, strict=True)
    ]
    found = [one for one in converted if one is not None]
    if found:
        networks = tuple(
            Network(stage.folder / file, Content(stage.folder / file), shape)
            for (stage, file), shape in zip(found, wanted, strict=True)
        )
    quantised: tuple[Stage, ...] = ()
    if semantics.precision == INT8:
        # A target without int8 says so before anybody looks for pictures.
        backends.of(context.target).quantiser(choice.lowering.name)
        pictures = data.calibration(context.options, context.target, source)
        made_int8 = _quantised(context, card, wanted, lowered, source, pictures)
        quantised = (*pictures.stages, *made_int8)
        networks = tuple(
            Network(one.folder / quantise.NETWORK, Content(one.folder / quantise.NETWORK), shape)
            for shape, one in zip(wanted, made_int8, strict=True)
        )
    elif context.options.calibration is not None:
        raise CascadeportError(
            "Calibration pictures are for int8.",
            where=f"--calibration {context.options.calibration}",
            next="Add --precision int8, or leave it out.",
        )
    made = (*before, *lowered, *alone, *quantised, *(stage for stage, _ in found))
    return Graphs(made, networks, choice.notes, single)


def _pictures(context: Context, lowering: Lowering, semantics: Semantics) -> int:
    """How many pictures a network takes at once.

    Raises:
        CascadeportError: It cannot take so many.
    """
    pictures = backends.of(context.target).pictures(context.options)
    if pictures > 1 and (not lowering.several or semantics.precision == INT8):
        what = "of int8" if lowering.several else f"lowered by '{lowering.name}'"
        raise CascadeportError(
            f"A network {what} takes one picture at a time.",
            where=f"--batch {pictures}",
            next="Leave --batch out.",
        )
    return pictures


def _lowered(
    context: Context,
    card: Card,
    wanted: Sequence[Shape | None],
    graphs: Sequence[Exported],
    choice: LoweringChoice,
    semantics: Semantics,
    pictures: int,
) -> tuple[list[Stage], tuple[Network, ...]]:
    """What lowers the graphs for so many pictures at once, and the networks that it makes."""
    stages = [
        _lower(context, card, shape, neutral, choice, semantics, pictures)
        for shape, neutral in zip(wanted, graphs, strict=True)
    ]
    networks = tuple(
        Network(one.folder / NETWORK, Content(one.folder / NETWORK), shape)
        for shape, one in zip(wanted, stages, strict=True)
    )
    return stages, networks


def neutral_graphs(
    context: Context, card: Card, source: DataSource
) -> tuple[tuple[Stage, ...], list[Exported]]:
    """The stages that make the card's neutral graphs, and the graphs."""
    if card.graph is None:
        assert card.checkpoint is not None
        before = export.stages(context, card, card.checkpoint, source)
        where = next(stage.folder for stage in before if stage.name == "export")
        return before, [Exported(where / export.NEUTRAL, Content(where / export.NEUTRAL), where)]
    files = [card.file(one.path) for one in card.graph.all]
    return (), [Exported(path, digest.of_file(path)) for path in files]


def _quantised(
    context: Context,
    card: Card,
    wanted: Sequence[Shape | None],
    lowered: Sequence[Stage],
    source: DataSource,
    pictures: quantise.CalibrationSource,
) -> list[Stage]:
    """What makes int8 of the lowered graphs, a stage for each."""
    variant = backends.of(context.target).calibrated(context.options)
    return [
        quantise.stage(
            context,
            card,
            shape,
            one,
            one.folder / NETWORK,
            source,
            pictures,
            "-".join(filter(None, (one.folder.name, INT8, variant.name))),
        )
        for shape, one in zip(wanted, lowered, strict=True)
    ]


def shapes(card: Card, lowering: Lowering, gears: bool) -> list[Shape | None]:
    """The shapes that networks are made for; None: one that takes all of them.

    Where the runtime allows it, there is one, so that its weights are there once.

    Args:
        gears: Whether the device takes one network of several known shapes.

    Raises:
        CascadeportError: Every picture has a shape of its own, and the runtime takes fixed ones.
    """
    several = len(card.input.canvases) > 1 and (card.graph is None or len(card.graph.all) == 1)
    if lowering.any_shape and (card.input.own_shapes or several):
        return [None]
    # Some releases of aclruntime cut outputs by how much smaller than the largest an input is, so
    # gears have one area (docs/shapes.md).
    alike = len({height * width for height, width in card.input.canvases}) == 1
    alike = alike and card.input.dtype == "float32" and not card.input.own_shapes
    if lowering.gears and gears and several and alike:
        return [None]
    if card.input.own_shapes:
        raise CascadeportError(
            f"A network lowered by '{lowering.name}' has one shape: not every picture can have its "
            "own.",
            where=f"card {card.name}: own shapes",
            next="Use a few fixed shapes instead: SHAPES=auto:4, or SHAPES=HxW,HxW.",
        )
    return list(card.input.canvases)


def _suffix(shape: Shape | None) -> str:
    return "" if shape is None else f"-{shape[0]}x{shape[1]}"


def _ready(context: Context, card: Card) -> Graphs:
    """A graph that runs as it is; it is checked before anything starts."""
    if card.input.own_shapes:
        raise CascadeportError(
            f"The graph of '{card.name}' is ready as it is, and has one shape: not every picture "
            "can have its own.",
            where=f"card {card.name}: input.own_shapes",
            next="Give 'size' or 'shapes', or use a model with a neutral graph or a checkpoint.",
        )
    backends.of(context.target).accept(card)
    options = context.options
    given = {
        "--proposals": options.proposals,
        "--nms-levels": options.nms_levels,
        "--nms-precision": options.nms_precision,
        "--precision": options.precision,
        "--lowering": options.lowering,
        "--batch": options.batch if options.batch != 1 else None,
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
    return Graphs(
        (),
        tuple(
            Network(path, digest.of_file(path), shape)
            for path, shape in zip(paths, card.input.canvases, strict=True)
        ),
    )


def _lower(
    context: Context,
    card: Card,
    shape: Shape | None,
    neutral: Exported,
    choice: LoweringChoice,
    semantics: Semantics,
    pictures: int,
) -> Stage:
    lowering = choice.lowering
    # int8 is made of the float32 graph, by a stage of its own.
    semantics = in_float(semantics)
    wanted = replace(request(card, semantics, shape, lowering), pictures=pictures)
    # A network of the card's only shape has no suffix.
    suffix = _suffix(shape) if shape != card.traced or len(card.input.canvases) > 1 else ""
    if shape is None:
        suffix = "-own" if card.input.own_shapes else "-every"
        if wanted.gears:
            suffix = "".join(_suffix(gear) for gear in wanted.gears)
    if pictures > 1:
        suffix += f"-batch{pictures}"
    parts = (lowering.name + suffix, semantics.name)
    product = context.options.build / "models" / card.name / "-".join(filter(None, parts))

    def work(context: Context, folder: Path) -> None:
        done = lowering.lower(neutral.path, folder / NETWORK, wanted)
        write_json(folder / RECORD, done.record)
        if neutral.folder is not None:
            summary, *compared = _verify(context, neutral, folder, done, wanted)
            context.reporter.line("verified", f"{summary}; {product / VERIFICATION}")
            for line in compared:
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
            # Nothing where the graph stays as it was exported.
            **(
                {}
                if shape == card.traced
                else {"shape": shape, "clip": wanted.clip, "gears": wanted.gears}
            ),
            **({} if pictures == 1 else {"pictures": pictures}),
        },
        inputs={
            "graph": neutral.digest,
            "passes": digest.of_sources(PACKAGE / "graph"),
            "lowering": digest.of_sources(PACKAGE / "backends" / context.target.backend),
        },
        work=work,
    )


def request(
    card: Card, semantics: Semantics, shape: Shape | None, lowering: Lowering
) -> graph.LoweringRequest:
    """What a lowering of a card's graph is asked for.

    Args:
        shape: Of the network; None: it takes all of the card's.
        lowering: What is asked.
    """
    files = card.graph is not None and len(card.graph.all) > 1
    return graph.LoweringRequest(
        dtype=card.input.dtype,
        mean=card.input.mean,
        std=card.input.std,
        proposals=semantics.proposals,
        across_levels=_flag(semantics.nms_levels, "across"),
        half_nms=_flag(semantics.nms_precision, "float16"),
        precision=in_float(semantics).precision,
        shape=None if files else shape,
        any_shape=shape is None and lowering.any_shape,
        gears=card.input.canvases if shape is None and not lowering.any_shape else (),
        clip="picture" if card.input.own_shapes else "input",
    )


def in_float(semantics: Semantics) -> Semantics:
    """The same, but int8: what the lowering itself is asked for."""
    if semantics.precision != INT8:
        return semantics
    return semantics.model_copy(update={"precision": None})


def _verify(
    context: Context,
    neutral: Exported,
    folder: Path,
    done: graph.Lowered,
    wanted: graph.LoweringRequest,
) -> list[str]:
    """Compares the lowering with PyTorch's own detections, and leaves the report.

    A graph whose meaning was changed is not meant to detect what PyTorch does: then the same
    lowering without those changes is compared. One of a shape that the export has no pictures of
    is compared at the traced shape, one for every shape at all that the export has, and one that
    clips boxes to the picture as one that clips them to the input, as PyTorch did for the
    reference. One for several pictures at once sees each among others. Where only the device runs
    even that, the export is verified without the lowering.

    Args:
        wanted: What was asked for.

    Returns:
        What was compared, in lines.
    """
    assert neutral.folder is not None
    scratch = folder / "faithful.onnx"
    backend = backends.of(context.target)
    try:
        compared = done
        known = graph.reference_shapes(neutral.folder)
        # None: at every shape that the export knows.
        at: Shape | None = wanted.shape if wanted.shape in known else known[0]
        gears = wanted.gears and (known if len(known) > 1 else ())
        if wanted.any_shape or gears:
            at = None
        if done.changes or wanted.clip != "input" or wanted.shape not in (None, at):
            lowering = backends.lowering(done.lowering)
            asked = replace(
                backend.faithful,
                any_shape=wanted.any_shape,
                shape=at,
                gears=tuple(gears),
                pictures=wanted.pictures,
            )
            compared = lowering.lower(neutral.path, scratch, asked)
        session = backend.session(compared.path, compared.lowering)
        if session is None:
            reference: Backend[Any] = backends.reference(context.target)
            asked = replace(reference.faithful, shape=at or known[0])
            compared = reference.lowering("local").lowering.lower(neutral.path, scratch, asked)
            session = reference.session(compared.path, compared.lowering)
            assert session is not None
            at = at or known[0]
        verification = graph.verify(session, done.path.name, neutral.folder, at)
    finally:
        scratch.unlink(missing_ok=True)
    verification.write(folder / VERIFICATION)
    verification.require_passed()
    return [verification.summary, *verification.lines]


def _flag(value: str | None, yes: str) -> bool | None:
    return None if value is None else value == yes


def records(stages: Sequence[Stage]) -> dict[str, Content]:
    """The records of the lowering, by names for a stage that reads them."""
    made = [stage.folder / RECORD for stage in _declaring(stages)]
    return {f"lowering-{path.parent.name}": Content(path) for path in made}


def changes(stages: Sequence[Stage]) -> list[str]:
    """The changes of meaning that the lowering declared."""
    for stage in _declaring(stages):
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


def _declaring(stages: Sequence[Stage]) -> list[Stage]:
    """The stages whose records say what the networks change: the last that rewrote them."""
    quantised = [stage for stage in stages if stage.name == "quantise"]
    return quantised or [stage for stage in stages if stage.name == "lower"]
