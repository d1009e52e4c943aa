"""lower: from the card's graph to the graph that a target runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeport import digest
from cascadeport.cards import Card, Shape
from cascadeport.engines import choose
from cascadeport.errors import CascadeportError
from cascadeport.options import Options
from cascadeport.plan import Stage
from cascadeport.stages import convert, export
from cascadeport.stages.data import Source
from cascadeport.stages.infer import Network
from cascadeport.targets import Semantics, Target

if TYPE_CHECKING:
    from cascadeport.execute import Run

NETWORK = "network.onnx"
LOWERING = "lowering.json"
VERIFICATION = "verification.json"
# The first onnxruntime whose CPU provider has been seen to run DeformConv.
_DEFORM_CONV_SINCE = (1, 32)


def lowering_for(target: Target, engine: str) -> tuple[str, tuple[str, ...]]:
    """The lowering that a target's runtime can run, and what has to be said about the choice.

    An onnxruntime too old for `DeformConv` (as on Python 3.10) runs the same network in standard
    operators; the plan says so.
    """
    if engine != "local" or target.lowering != "onnxruntime" or _host_lowering() == "onnxruntime":
        return target.lowering, ()
    note = (
        f"onnxruntime {_installed()} has no DeformConv: the network runs in standard operators, "
        "which is slower; the detections are the same"
    )
    return _host_lowering(), (note,)


def _installed() -> str:
    from importlib import metadata

    return metadata.version("onnxruntime")


def _host_lowering() -> str:
    """The lowering that this machine's own onnxruntime can run."""
    version = tuple(int(part) for part in _installed().split(".")[:2])
    return "onnxruntime" if version >= _DEFORM_CONV_SINCE else "onnxruntime-1.9"


@dataclass(frozen=True)
class Exported:
    """A neutral graph.

    Args:
        path: Where it stands once the stages before are done.
        digest: Of its content, or the key of the stage that makes it.
        folder: The folder with PyTorch's own detections, which it is verified by; None: it came
            without them.
    """

    path: Path
    digest: str
    folder: Path | None = None


def stages(
    card: Card,
    target: Target,
    lowering: str,
    semantics: Semantics,
    engine: str,
    source: Source,
    options: Options,
) -> tuple[Stage, ...]:
    """Plans what leads to the target's graph. Nothing for a graph that is ready as it is."""
    if card.graph is None:
        assert card.checkpoint is not None
        before = export.stages(card, card.checkpoint, target, engine, source, options)
        exported = [stage for stage in before if stage.name == "export"]
        graphs = [Exported(one.folder / export.NEUTRAL, one.key, one.folder) for one in exported]
    else:
        before = ()
        files = [card.file(one.path) for one in card.graph.all]
        graphs = [Exported(path, digest.of_file(path)) for path in files]
    if card.graph is not None and card.graph.kind == "ready":
        if lowering == "ascend":
            raise CascadeportError(
                f"The graph of '{card.name}' is ready for onnxruntime and cannot be lowered "
                "for Ascend.",
                where=str(graphs[0].path),
                next="Export the neutral graph from the checkpoint (docs/export.md).",
            )
        if semantics.name:
            raise CascadeportError(
                f"The graph of '{card.name}' is ready as it is; its meaning cannot be changed.",
                where=f"PROPOSALS=, NMS_LEVELS=, NMS_PRECISION=, PRECISION= ({semantics.name})",
                next="Leave them out, or use a model with a neutral graph or a checkpoint.",
            )
        return ()
    lowered = [
        _lower(card, shape, graph, lowering, semantics, options)
        for shape, graph in zip(card.input.canvases, graphs, strict=True)
    ]
    return (*before, *lowered, *_converted(card, target, engine, options, lowered))


def _converted(
    card: Card, target: Target, engine: str, options: Options, lowered: Sequence[Stage]
) -> tuple[Stage, ...]:
    """What a chip needs beyond graphs: om files, on Ascend."""
    if target.lowering != "ascend":
        return ()
    runtime = choose.identity(engine, "convert", target, options)
    return tuple(
        convert.stage(card, shape, target, options, one, one.folder / NETWORK, runtime)
        for shape, one in zip(card.input.canvases, lowered, strict=True)
    )


def _lower(
    card: Card,
    shape: Shape,
    neutral: Exported,
    lowering: str,
    semantics: Semantics,
    options: Options,
) -> Stage:
    suffix = card.input.suffix(shape)
    parts = (lowering + suffix, semantics.name)
    place = options.build / "models" / card.name / "-".join(filter(None, parts))

    def work(run: Run, folder: Path) -> None:
        from cascadeport import graph

        done = graph.lower(
            neutral.path,
            folder / NETWORK,
            lowering,
            input_dtype=card.input.dtype,
            mean=card.input.mean,
            std=card.input.std,
            proposals=semantics.proposals,
            across_levels=_flag(semantics.nms_levels, "across"),
            half_nms=_flag(semantics.nms_precision, "float16"),
            precision=semantics.precision,
        )
        facts = {"lowering": lowering, "opset": done.opset, "changes": list(done.changes)}
        (folder / LOWERING).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        if neutral.folder is not None:
            as_it_is = lowering == _host_lowering() and not done.changes
            network = folder / NETWORK if as_it_is else None
            told = _verify(neutral.path, folder, neutral.folder, network)
            run.reporter.line("verified", f"{told}; {place / VERIFICATION}")

    return Stage(
        name="lower",
        title=f"lower {card.name}{suffix} for {lowering}",
        folder=place,
        parameters={
            "lowering": lowering,
            "semantics": semantics.model_dump(),
            "dtype": card.input.dtype,
            "mean": list(card.input.mean),
            "std": list(card.input.std),
        },
        inputs={
            "graph": neutral.digest,
            "passes": digest.of_sources(Path(__file__).parents[1] / "graph"),
        },
        work=work,
    )


def _verify(neutral: Path, folder: Path, exported: Path, network: Path | None) -> str:
    """Holds the exported graph against PyTorch's own detections, and leaves the report.

    Args:
        network: The lowered graph. None: it runs on a chip only, or its meaning was changed and
            it is not meant to detect what PyTorch does; then the export itself is verified.

    Returns:
        What was compared, in a line.
    """
    from cascadeport import graph

    scratch = folder / "faithful.onnx"
    try:
        if network is None:
            network = graph.lower(neutral, scratch, _host_lowering()).path
        verification = graph.verify(network, exported)
    finally:
        scratch.unlink(missing_ok=True)
    verification.write(folder / VERIFICATION)
    verification.demand()
    return verification.summary


def _flag(value: str | None, yes: str) -> bool | None:
    return None if value is None else value == yes


def networks(card: Card, stages: tuple[Stage, ...]) -> tuple[Network, ...]:
    """The graph that the target runs for every shape, from the last stages or from the card."""
    if stages:
        last = stages[-1].name
        name = convert.NETWORK if last == "convert" else NETWORK
        return tuple(Network(one.folder / name, one.key) for one in stages if one.name == last)
    assert card.graph is not None
    paths = [card.file(one.path) for one in card.graph.all]
    return tuple(Network(path, digest.of_file(path)) for path in paths)


def changes(stages: tuple[Stage, ...]) -> list[str]:
    """The changes of meaning that the lowering declared."""
    for stage in stages:
        if stage.name == "lower":
            facts = json.loads((stage.folder / LOWERING).read_text(encoding="utf-8"))
            return [str(change) for change in facts["changes"]]
    return []
