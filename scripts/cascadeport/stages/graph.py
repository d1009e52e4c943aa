"""lower: from the card's graph to the graph that a target runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cascadeport import digest
from cascadeport.cards import Card
from cascadeport.engines import choose
from cascadeport.errors import CascadeportError
from cascadeport.options import Options
from cascadeport.plan import Stage
from cascadeport.stages import convert, export
from cascadeport.stages.data import Source
from cascadeport.stages.infer import Network
from cascadeport.targets import Target

if TYPE_CHECKING:
    from cascadeport.execute import Run

NETWORK = "network.onnx"
LOWERING = "lowering.json"
# The first onnxruntime whose CPU provider has been seen to run DeformConv.
_DEFORM_CONV_SINCE = (1, 32)


def lowering_for(target: Target, engine: str) -> tuple[str, tuple[str, ...]]:
    """The lowering that a target's runtime can run, and what has to be said about the choice.

    An onnxruntime too old for `DeformConv` (as on Python 3.10) runs the same network in standard
    operators; the plan says so.
    """
    if engine != "local" or target.lowering != "onnxruntime":
        return target.lowering, ()
    from importlib import metadata

    installed = metadata.version("onnxruntime")
    if tuple(int(part) for part in installed.split(".")[:2]) >= _DEFORM_CONV_SINCE:
        return "onnxruntime", ()
    note = (
        f"onnxruntime {installed} has no DeformConv: the network runs in standard operators, "
        "which is slower; the detections are the same"
    )
    return "onnxruntime-1.9", (note,)


def stages(
    card: Card, target: Target, lowering: str, engine: str, source: Source, options: Options
) -> tuple[Stage, ...]:
    """Plans what leads to the target's graph. Nothing for a graph that is ready as it is."""
    if card.graph is None:
        assert card.checkpoint is not None
        before = export.stages(card, card.checkpoint, target, engine, source, options)
        exported = before[-1]
        lower = _lower(
            card, exported.folder / export.NEUTRAL, exported.key, lowering, options, exported.folder
        )
        return (*before, lower, *_converted(card, target, engine, options, lower))
    path = card.file(card.graph.path)
    if card.graph.kind == "ready":
        if lowering == "ascend":
            raise CascadeportError(
                f"The graph of '{card.name}' is ready for onnxruntime and cannot be lowered "
                "for Ascend.",
                where=str(path),
                next="Export the neutral graph from the checkpoint (docs/export.md).",
            )
        return ()
    lower = _lower(card, path, digest.of_file(path), lowering, options, None)
    return (lower, *_converted(card, target, engine, options, lower))


def _converted(
    card: Card, target: Target, engine: str, options: Options, lowered: Stage
) -> tuple[Stage, ...]:
    """What a chip needs beyond a graph: an om file, on Ascend."""
    if target.lowering != "ascend":
        return ()
    runtime = choose.identity(engine, "convert", target, options)
    return (convert.stage(card, target, options, lowered, lowered.folder / NETWORK, runtime),)


def _lower(
    card: Card, path: Path, known: str, lowering: str, options: Options, exported: Path | None
) -> Stage:
    """`exported` is the folder with PyTorch's own detections, which the graph is verified by."""

    def work(run: Run, folder: Path) -> None:
        from cascadeport import graph

        done = graph.lower(
            path,
            folder / NETWORK,
            lowering,
            input_dtype=card.input.dtype,
            mean=card.input.mean,
            std=card.input.std,
        )
        facts = {"lowering": lowering, "opset": done.opset, "changes": list(done.changes)}
        (folder / LOWERING).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        if exported is not None and lowering != "ascend":
            verification = graph.verify(folder / NETWORK, exported)
            verification.write(folder / "verification.json")
            verification.demand()

    return Stage(
        name="lower",
        title=f"lower {card.name} for {lowering}",
        folder=options.build / "models" / card.name / lowering,
        parameters={
            "lowering": lowering,
            "dtype": card.input.dtype,
            "mean": list(card.input.mean),
            "std": list(card.input.std),
        },
        inputs={
            "graph": known,
            "passes": digest.of_sources(Path(__file__).parents[1] / "graph"),
        },
        work=work,
    )


def network(card: Card, stages: tuple[Stage, ...]) -> Network:
    """The graph that the target runs, from the last stage that makes one or from the card."""
    if stages:
        last = stages[-1]
        name = convert.NETWORK if last.name == "convert" else NETWORK
        return Network(last.folder / name, last.key)
    assert card.graph is not None
    path = card.file(card.graph.path)
    return Network(path, digest.of_file(path))


def changes(stages: tuple[Stage, ...]) -> list[str]:
    """The changes of meaning that the lowering declared."""
    for stage in stages:
        if stage.name == "lower":
            facts = json.loads((stage.folder / LOWERING).read_text(encoding="utf-8"))
            return [str(change) for change in facts["changes"]]
    return []
