"""quantise: from the lowered graph in float32 to the same graph in int8 (docs/int8.md)."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from cascadeport import backends
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.base.paths import PACKAGE
from cascadeport.base.reading import read_record
from cascadeport.config.cards import Card, Shape
from cascadeport.config.options import Options
from cascadeport.core.backend import Backend
from cascadeport.core.context import Context
from cascadeport.core.plan import DataSource, Plan
from cascadeport.core.stage import Content, Stage
from cascadeport.graph.lowering import RECORD
from cascadeport.pipeline import job as jobs
from cascadeport.quantise import calibration, record
from cascadeport.quantise.candidates import Candidates
from cascadeport.quantise.environment import ENVIRONMENT, SIZE
from cascadeport.quantise.search import BUDGET, search
from cascadeport.quantise.selection import select

NETWORK = "network.onnx"
LOG = "quantise.log"


@dataclass(frozen=True)
class CalibrationSource:
    """Where the calibration pictures come from.

    Args:
        name: How results name them.
        folder: Their folder, once the stages are done.
        stages: What makes them.
        digests: What a stage that reads them takes as inputs.
    """

    name: str
    folder: Path
    stages: tuple[Stage, ...]
    digests: dict[str, str]


def stage(
    context: Context,
    card: Card,
    shape: Shape | None,
    lowered: Stage,
    network: Path,
    source: DataSource,
    pictures: CalibrationSource,
    name: str,
) -> Stage:
    """Plans the quantisation of one network.

    Args:
        shape: Rows and columns of the network's input; None: it takes every shape.
        lowered: The stage that makes the float32 graph.
        network: The graph.
        source: The data set that will be evaluated.
        pictures: What ranges are measured on.
        name: Of the product's folder.

    Raises:
        CascadeportError: The target's runtime has no int8.
    """
    backend = backends.of(context.target)
    lowering = str(lowered.parameters["lowering"])
    tool = backend.quantiser(lowering)
    if card.input.dtype != "float32":
        raise CascadeportError(
            "Only networks whose input is float32 are quantised.",
            where=f"card {card.name}: input.dtype is {card.input.dtype}",
            next='Use a card of the same model with dtype = "float32".',
        )
    suffix = f" {shape[0]}x{shape[1]}" if shape and len(card.input.canvases) > 1 else ""
    count = context.options.calibration_pictures
    settings = _settings(card, backend, context.options)
    versions = {key: ENVIRONMENT.pinned[key] for key in ("nncf", "onnx", "onnxruntime", "openvino")}

    def work(context: Context, folder: Path) -> None:
        _quantise(context, folder, card, shape, lowered, network, source, pictures, tool)

    return Stage(
        name="quantise",
        title=f"quantise {card.name}{suffix} to int8 by {tool}, calibrated on {pictures.name}",
        folder=context.options.build / "models" / card.name / name,
        parameters={
            "lowering": lowering,
            "tool": tool,
            "versions": versions,
            "pictures": count,
            "budget": BUDGET,
            "shape": list(shape) if shape else None,
            "input": settings["input"],
            "preprocess": settings["preprocess"],
            "runner": backend.runner(context.options),
        },
        inputs={
            "graph": Content(network),
            "lowering": Content(lowered.folder / RECORD),
            "quantise": digest.of_sources(PACKAGE / "quantise"),
            "passes": digest.of_sources(PACKAGE / "graph"),
            "bundle": _bundle_digest(),
            **{f"calibration-{key}": value for key, value in pictures.digests.items()},
            **source.digests,
        },
        work=work,
        hashed=True,
    )


def _settings(card: Card, backend: Backend[Any], options: Options) -> dict[str, Any]:
    """The job's settings, for input and preprocessing: one picture after the other here."""
    return jobs.settings(card, backend, replace(options, streams=None), 1)


def require(plan: Plan, context: Context) -> None:
    """Installs the tools if the plan quantises; says so first.

    Raises:
        CascadeportError: They cannot be installed.
    """
    quantising = [one for one in plan.stages if one.name == "quantise"]
    if any(not one.freshness.is_up_to_date for one in quantising):
        install(context)


def install(context: Context) -> None:
    """Installs the tools that quantise, unless they are installed."""
    if not ENVIRONMENT.is_installed:
        context.reporter.note(
            f"Quantising needs NNCF {ENVIRONMENT.pinned['nncf']} and the runtimes it works with, "
            f"{SIZE} in {ENVIRONMENT.folder.name}; they are installed now, once."
        )
        ENVIRONMENT.install(context.reporter)


def _bundle_digest() -> str:
    from bundle.digest import bundle_digest

    return str(bundle_digest())


def _quantise(
    context: Context,
    folder: Path,
    card: Card,
    shape: Shape | None,
    lowered: Stage,
    network: Path,
    source: DataSource,
    pictures: CalibrationSource,
    tool: str,
) -> None:
    install(context)
    reporter, options = context.reporter, context.options
    chosen = calibration.choose(pictures.folder, options.calibration_pictures)
    calibration.refuse_evaluated(chosen, evaluated(source, context), pictures.folder)
    selected = select(onnx.load(str(network)))
    backend = backends.of(context.target)
    settings = _settings(card, backend, options)
    with tempfile.TemporaryDirectory(prefix=".quantise-", dir=folder) as name:
        scratch = Path(name)
        paths = calibration.prepare(chosen, settings, scratch, reporter.update)
        inputs = paths if shape is None else calibration.of_shape(paths, shape)
        if shape is not None and len(inputs) < calibration.FEWEST:
            raise CascadeportError(
                f"{len(inputs)} of the {len(paths)} pictures to calibrate on have the network's "
                f"shape {shape[0]}x{shape[1]}; at least {calibration.FEWEST} must.",
                where=str(pictures.folder),
                next="--calibration names pictures of both orientations, or use more of them "
                "(--calibration-pictures).",
            )
        candidates = Candidates(context, tool, network, inputs, selected, scratch, folder / LOG)
        outcome = search(selected.candidates, candidates.measure)
        candidates.build([outcome.chosen.kept], [folder / NETWORK])
    facts = {
        "name": tool,
        "version": ENVIRONMENT.pinned[tool],
        "runtime": candidates.runtime,
    }
    write_json(
        folder / record.NAME,
        record.content(facts, pictures.name, chosen, selected, outcome, BUDGET),
        indent=1,
    )
    said = record.change(facts, pictures.name, len(inputs), selected, outcome)
    before = read_record(lowered.folder / RECORD, "record of the lowering")
    write_json(folder / RECORD, {**before, "changes": [*before["changes"], said]})
    reporter.line("int8", said)
    if not outcome.chosen.drift.is_measured:
        reporter.note(
            "The network detects next to nothing in the pictures to calibrate on: are they like "
            "those that it was trained for? The accuracy on the data set decides."
        )
    elif not outcome.met:
        reporter.note(
            f"The drift is more than {100 * BUDGET:.0f} %, with as many layers in float32 as are "
            "worth it. The accuracy on the data set decides: see the verdict."
        )


def seen(stages: Sequence[Stage], read: Mapping[int, str]) -> list[str]:
    """Whether pictures that a pass read were calibrated on, whatever was planned: a sentence.

    Args:
        stages: Those that made the networks.
        read: The sha256 of the pictures that the pass read, by id.
    """
    found = set()
    for one in stages:
        if one.name == "quantise":
            path = one.folder / record.NAME
            remedy = f"Remove {one.folder} and run the same command again."
            known = read_record(path, "record of the quantisation", next=remedy)
            pictures = known.get("calibration", {}).get("pictures", [])
            found |= {str(picture.get("sha256")) for picture in pictures}
    both = [number for number, sha256 in read.items() if sha256 in found]
    if not both:
        return []
    return [f"int8 was calibrated on {len(both)} of the pictures: {', '.join(map(str, both[:3]))}"]


def evaluated(source: DataSource, context: Context) -> dict[str, str]:
    """The names of the data set's pictures by the sha256 of their content.

    All that are there, also where this run takes only some: the network is kept for others.
    """
    everything = replace(context.options, limit=None, part=None, keep_going=True)
    dataset = source.load(everything)
    found = {}
    for done, item in enumerate(dataset.items):
        context.reporter.update(done, len(dataset.items), "evaluated pictures")
        path = dataset.pictures_dir / item.file
        if path.is_file():  # with a limit, the others need not be there
            found[digest.of_file(path)] = item.file
    context.reporter.update(len(dataset.items), len(dataset.items), "evaluated pictures")
    return found
