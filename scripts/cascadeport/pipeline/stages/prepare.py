"""prepare: the input files of a vendor's tool that quantises, where that does not run here."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from cascadeport import backends
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.base.paths import PACKAGE
from cascadeport.config.cards import Card
from cascadeport.config.targets import Semantics, Target
from cascadeport.core.backend import Backend, ForeignQuantiser
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource
from cascadeport.core.stage import Stage
from cascadeport.graph.lowering import RECORD
from cascadeport.pipeline import job as jobs
from cascadeport.pipeline.stages import lower, quantise
from cascadeport.quantise import calibration, record
from cascadeport.quantise.selection import Selection, select


def stages(
    context: Context,
    card: Card,
    semantics: Semantics,
    source: DataSource,
    pictures: quantise.CalibrationSource,
    tool: ForeignQuantiser,
) -> tuple[Stage, ...]:
    """Plans the preparation, and what it needs.

    Raises:
        CascadeportError: The card's graph cannot be lowered for the tool.
    """
    if card.graph is not None and card.graph.kind == "ready":
        raise CascadeportError(
            f"The graph of '{card.name}' is ready as it is; {tool.name} needs one that is lowered "
            "for it.",
            where=f"card {card.name}: graph",
            next="Use a model with a neutral graph or a checkpoint.",
        )
    if len(card.input.canvases) > 1 or card.input.own_shapes:
        raise CascadeportError(
            f"{tool.name} gets one network of one shape.",
            where=f"card {card.name}: {len(card.input.canvases)} shapes",
            next="Give --shapes HxW.",
        )
    before, (neutral, *_) = lower.neutral_graphs(context, card, source)
    semantics = lower.in_float(semantics)
    shape = card.input.canvases[0]

    def work(context: Context, folder: Path) -> None:
        wanted = lower.request(card, semantics, shape, tool.lowering)
        graph = folder / lower.NETWORK
        lowered = tool.lowering.lower(neutral.path, graph, wanted)
        write_json(folder / RECORD, lowered.record)
        chosen = calibration.choose(pictures.folder, context.options.calibration_pictures)
        calibration.refuse_evaluated(chosen, quantise.evaluated(source, context), pictures.folder)
        selected = _selected(backends.reference(context.target), neutral.path, folder)
        with tempfile.TemporaryDirectory(prefix=".prepare-", dir=folder) as name:
            settings = jobs.settings(card, backends.of(context.target), context.options, 1)
            reporter = context.reporter
            inputs = calibration.prepare(chosen, settings, Path(name), reporter.update)
            tool.write(folder, graph, selected.candidates, inputs)
        write_json(
            folder / record.NAME, record.prepared(tool.name, pictures.name, chosen, selected)
        )

    name = "-".join(filter(None, (tool.lowering.name, semantics.name, tool.name.lower())))
    stage = Stage(
        name="prepare",
        title=f"prepare {card.name} for {tool.name}, calibration pictures from {pictures.name}",
        folder=context.options.build / "models" / card.name / name,
        parameters={
            "tool": tool.name,
            "lowering": tool.lowering.name,
            "semantics": semantics.model_dump(),
            "pictures": context.options.calibration_pictures,
            "input": jobs.network_input(card),
            "mean": list(card.input.mean),
            "std": list(card.input.std),
            "channels": card.input.channels,
            "padding": card.input.padding,
        },
        inputs={
            "graph": neutral.digest,
            "quantise": digest.of_sources(PACKAGE / "quantise"),
            "passes": digest.of_sources(PACKAGE / "graph"),
            "backend": digest.of_sources(PACKAGE / "backends" / context.target.backend),
            **{f"calibration-{key}": value for key, value in pictures.digests.items()},
            **source.digests,
        },
        work=work,
    )
    return (*source.stages, *before, *pictures.stages, stage)


def _selected(reference: Backend[Target], neutral: Path, folder: Path) -> Selection:
    """What may be int8, by the names that the neutral graph's layers have in every lowering.

    It is looked at in a lowering where deformable convolution is an operator.
    """
    scratch = folder / "selected.onnx"
    try:
        reference.lowerings[0]().lower(neutral, scratch)
        return select(onnx.load(str(scratch)))
    finally:
        scratch.unlink(missing_ok=True)
