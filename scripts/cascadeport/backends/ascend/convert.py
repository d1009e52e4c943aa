"""convert: atc compiles the lowered graph into the om file of an Ascend chip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cascadeport.backends.ascend.atc_errors import explain
from cascadeport.backends.ascend.lowering import AtcArguments
from cascadeport.backends.ascend.target import AscendTarget
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.config.cards import Card, Shape
from cascadeport.core.context import Context
from cascadeport.core.stage import Content, Stage
from cascadeport.core.task import Mount, Task
from cascadeport.graph.lowering import RECORD as LOWERING

NETWORK = "network.om"
RECORD = "convert.json"
_LOG = "atc.log"
_AIPP = "aipp.cfg"
# atc compiles kernel by kernel and says nothing meanwhile.
_SILENCE_S = 3600.0


def stage(
    context: Context,
    card: Card,
    shape: Shape,
    target: AscendTarget,
    lowered: Stage,
    network: Path,
) -> Stage:
    """Plans the conversion.

    Args:
        lowered: The stage that writes the graph.
        network: The graph in that stage's folder.
    """
    flags = target.atc_flags
    options = context.options
    parameters: dict[str, Any] = {
        "soc": target.soc,
        "flags": flags,
        "dtype": card.input.dtype,
        "mean": list(card.input.mean),
        "std": list(card.input.std),
        "runtime": dict(context.engine.planned("convert")),
    }
    kind = "-simulated" if options.simulate else ""

    def work(context: Context, folder: Path) -> None:
        _convert(context, folder, target, network)

    return Stage(
        name="convert",
        title=f"convert {card.name}{card.input.suffix(shape)} for {target.soc}",
        folder=options.build / "models" / card.name / f"{lowered.folder.name}-{target.soc}{kind}",
        parameters=parameters,
        inputs={"graph": Content(network)},
        work=work,
    )


def _convert(context: Context, folder: Path, target: AscendTarget, network: Path) -> None:
    engine = context.engine
    graph = Mount(network, "/model/network.onnx")
    out = Mount(folder.resolve(), "/out", writable=True)
    inside = engine.path(out)
    facts = json.loads((network.parent / LOWERING).read_text(encoding="utf-8"))
    atc = AtcArguments(**facts["facts"]["atc"])
    if atc.aipp is not None:
        (folder / _AIPP).write_text(atc.aipp, encoding="ascii")
    argv = arguments(atc, target.soc, target.atc_flags, engine.path(graph), inside)
    log = folder / _LOG
    task = Task("convert", argv, (graph, out), log, deadline_s=_SILENCE_S)
    try:
        engine.run(task, context.reporter.event)
    except CascadeportError as error:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise explain(text) or error from error
    if not (folder / NETWORK).is_file():
        raise CascadeportError(
            "atc reported success but wrote no om file.",
            where=str(log),
            next="Run again with --keep-failed to keep its log.",
        )
    write_json(folder / RECORD, {"format": 1, "argv": argv, "soc": target.soc})


def arguments(
    atc: AtcArguments, soc: str, flags: Mapping[str, str], model: str, out: str
) -> tuple[str, ...]:
    """atc's command line.

    Args:
        atc: Input shape, output nodes and AIPP, from the lowering.
        soc: The chip, for `--soc_version`.
        flags: Further flags, from the target's row.
        model: The graph's path as seen by atc.
        out: The output folder as seen by atc.
    """
    argv = [
        "atc",
        f"--model={model}",
        "--framework=5",
        f"--output={out}/{Path(NETWORK).stem}",
        "--input_format=NCHW",
        f"--input_shape={atc.input_shape}",
        f"--out_nodes={atc.out_nodes}",
        f"--soc_version={soc}",
        "--log=error",
        *(f"--{key}={value}" for key, value in flags.items()),
    ]
    if atc.aipp is not None:
        argv.append(f"--insert_op_conf={out}/{_AIPP}")
    return tuple(argv)
