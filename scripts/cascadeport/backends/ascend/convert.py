"""convert: atc compiles the lowered graph into the om file of an Ascend chip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from cascadeport.backends.ascend import releases
from cascadeport.backends.ascend.atc_errors import explain
from cascadeport.backends.ascend.atc_graph import AtcArguments
from cascadeport.backends.ascend.target import AscendTarget
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.config.cards import Card, Shape
from cascadeport.core.context import Context
from cascadeport.core.follow import parse_event
from cascadeport.core.stage import Content, Stage
from cascadeport.core.task import Mount, Task
from cascadeport.graph.lowering import RECORD as LOWERING

NETWORK = "network.om"
RECORD = "convert.json"
_LOG = "atc.log"
_AIPP = "aipp.cfg"
_CHECK = "/opt/cascadeport/check_operators.py"
#: Of the nodes that only Ascend has, the operators that need a kernel; one of them suffices. atc's
#: fusion passes split a DeformableConv2D (canndev, deformable_offsets_fusion_pass.cc).
_KERNELS = {
    "DeformableConv2D": ("DeformableOffsets", "DeformableConv2D"),
    "RoiExtractor": ("RoiExtractor",),
    "BatchMultiClassNMS": ("BatchMultiClassNonMaxSuppression",),
}
# atc compiles kernel by kernel and says nothing meanwhile.
_SILENCE_S = 3600.0


def stage(
    context: Context,
    card: Card,
    shape: Shape | None,
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
    cann = releases.find(options.cann_release)
    kind = "" if cann is releases.default() else f"-cann-{cann.name}"
    kind += "-simulated" if options.simulate else ""

    def work(context: Context, folder: Path) -> None:
        _convert(context, folder, target, network)

    return Stage(
        name="convert",
        title=f"convert {card.name}{card.input.suffix(shape) if shape else ''} for {target.soc}",
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
    checked = (*_check(network, target.soc), *argv)
    task = Task("convert", checked, (graph, out), log, deadline_s=_SILENCE_S)
    try:
        engine.run(task, context.reporter.event)
    except CascadeportError as error:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise _with_notes(explain(text) or error, text) from error
    if not (folder / NETWORK).is_file():
        raise CascadeportError(
            "atc reported success but wrote no om file.",
            where=str(log),
            next="Run again with --keep-failed to keep its log.",
        )
    # atc writes it for its own user only (graphengine at 4d9916b3, ge/common/auth/file_saver.cc),
    # and another may run it. aclruntime refuses what others can write from 2025-03-11 on.
    (folder / NETWORK).chmod(0o644)
    write_json(folder / RECORD, {"format": 1, "argv": argv, "soc": target.soc})


def _check(network: Path, soc: str) -> tuple[str, ...]:
    """The words before atc's command line that look first whether CANN has what a graph needs."""
    nodes = onnx.load(str(network), load_external_data=False).graph.node
    present = {node.op_type for node in nodes}
    needs = [f"--need={name}:{','.join(_KERNELS[name])}" for name in _KERNELS if name in present]
    return ("python3", _CHECK, f"--soc={soc}", *needs, "--")


def _with_notes(error: CascadeportError, log: str) -> CascadeportError:
    """The error, with what was noted before atc ran: it may be the reason."""
    events = [parse_event(line.encode()) for line in log.splitlines()]
    notes = [str(event.get("text")) for event in events if event and event["event"] == "note"]
    error.details = [*error.details, *notes]
    return error


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
    if atc.dynamic_image_size:
        argv.append(f"--dynamic_image_size={atc.dynamic_image_size}")
    if atc.aipp is not None:
        argv.append(f"--insert_op_conf={out}/{_AIPP}")
    return tuple(argv)
