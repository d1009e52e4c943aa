"""convert: atc makes the om file of an Ascend chip from the lowered graph."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascadeport.cards import Card, Shape
from cascadeport.engines import Mount, Task
from cascadeport.errors import CascadeportError
from cascadeport.options import Options
from cascadeport.plan import Stage
from cascadeport.targets import Target

if TYPE_CHECKING:
    from cascadeport.execute import Run

NETWORK = "network.om"
RECORD = "convert.json"
_LOG = "atc.log"
_AIPP = "aipp.cfg"
# atc compiles kernel by kernel and says nothing meanwhile.
_SILENCE_S = 3600.0
# What a target's row may hand on to atc in its runner's options.
_FLAGS = ("precision_mode", "op_select_implmode", "optypelist_for_implmode", "modify_mixlist")


def stage(
    card: Card,
    shape: Shape,
    target: Target,
    options: Options,
    lowered: Stage,
    network: Path,
    runtime: Mapping[str, str],
) -> Stage:
    """Plans the conversion.

    Args:
        lowered: The stage that makes the graph.
        network: The graph below it.
        runtime: What the engine says of atc's image before anything runs.
    """
    assert target.soc is not None
    flags = {key: str(target.runner.options[key]) for key in _FLAGS if key in target.runner.options}
    parameters: dict[str, Any] = {
        "soc": target.soc,
        "flags": flags,
        "dtype": card.input.dtype,
        "mean": list(card.input.mean),
        "std": list(card.input.std),
        "runtime": dict(runtime),
    }
    kind = "-simulated" if options.simulate else ""

    def work(run: Run, folder: Path) -> None:
        _convert(run, folder, card, target, flags, network)

    return Stage(
        name="convert",
        title=f"convert {card.name}{card.input.suffix(shape)} for {target.soc}",
        folder=options.build / "models" / card.name / f"{lowered.folder.name}-{target.soc}{kind}",
        parameters=parameters,
        inputs={"graph": lowered.key},
        work=work,
    )


def _convert(
    run: Run, folder: Path, card: Card, target: Target, flags: Mapping[str, str], network: Path
) -> None:
    graph = Mount(network, "/model/network.onnx")
    out = Mount(folder.resolve(), "/out", writable=True)
    inside = run.engine.path(out)
    argv = arguments(card, target, flags, network, folder, run.engine.path(graph), inside)
    log = folder / _LOG
    task = Task("convert", argv, (graph, out), log, deadline_s=_SILENCE_S)
    try:
        run.engine.run(task, run.reporter.event)
    except CascadeportError as error:
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        raise explained(text) or error from error
    if not (folder / NETWORK).is_file():
        raise CascadeportError(
            "atc ended well and left no om file.",
            where=str(log),
            next="Run again with --keep-failed to keep its log.",
        )
    facts = {"format": 1, "argv": argv, "soc": target.soc}
    (folder / RECORD).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def arguments(
    card: Card,
    target: Target,
    flags: Mapping[str, str],
    network: Path,
    folder: Path,
    model: str,
    out: str,
) -> tuple[str, ...]:
    """atc's command line. Input shape and output nodes are read from the graph itself.

    Args:
        network: The graph, to be read here.
        folder: Where atc's other inputs (AIPP) are written.
        model: The graph's path as atc sees it.
        out: The folder as atc sees it.
    """
    import onnx

    from cascadeport.graph import ascend

    graph = onnx.load(str(network), load_external_data=False)
    told = ascend.describe(graph)
    argv = [
        "atc",
        f"--model={model}",
        "--framework=5",
        f"--output={out}/{Path(NETWORK).stem}",
        "--input_format=NCHW",
        f"--input_shape={told.input_shape}",
        f"--out_nodes={told.out_nodes}",
        f"--soc_version={target.soc}",
        "--log=error",
        *(f"--{key}={value}" for key, value in flags.items()),
    ]
    if card.input.dtype == "uint8":
        _, _, height, width = (
            side.dim_value for side in graph.graph.input[0].type.tensor_type.shape.dim
        )
        text = ascend.aipp(height, width, list(card.input.mean), list(card.input.std))
        (folder / _AIPP).write_text(text, encoding="ascii")
        argv.append(f"--insert_op_conf={out}/{_AIPP}")
    return tuple(argv)


@dataclass(frozen=True)
class Cause:
    """What an error code of atc means: a sentence, and what helps."""

    what: str
    remedy: str


_NO_PARSER = Cause(
    "atc of this CANN knows an operator of the graph not at all, or not in this opset.",
    "Use CANN 5.1.RC2 or newer, and the graph that this project's lowering makes: one opset (9 to "
    "13), no domain.",
)
_NODES = Cause(
    "An output node that atc was told does not exist in the graph.",
    "The graph was changed after the lowering; lower it again (remove build/models/NAME).",
)
# Codes: Ascend's ge_error_codes of the 5.1 time; the texts behind them vary between releases.
CAUSES: Mapping[str, Cause] = {
    "E10001": Cause(
        "atc does not accept one of its options.",
        "See which in the message. A soc of another release, or an option in the target's runner "
        "options that this atc does not have?",
    ),
    "E10002": Cause(
        "atc does not accept the input's shape.",
        "It comes from the graph: export it again with the size of the model card.",
    ),
    "E10007": Cause("An option that atc needs is missing.", "This is a fault of this program."),
    "E10011": Cause("atc cannot read a file that it was given.", "See which in the message."),
    "E10014": Cause("atc does not accept one of its options.", "See which in the message."),
    "E10016": _NODES,
    "E11017": _NODES,
    "E10034": Cause(
        "AIPP and another option want the same input.",
        "Take input_fp16_nodes out of the target's runner options.",
    ),
    "E10041": Cause(
        "atc cannot load the graph.",
        "The file is cut off or no ONNX: lower it again (remove build/models/NAME).",
    ),
    "E10052": Cause(
        "atc does not accept the AIPP configuration.",
        "It is made from the model card's size, mean and std: look at them.",
    ),
    "E10501": _NO_PARSER,
    "E13023": Cause(
        "The om file is too large for this CANN.", "Use a newer CANN, or a smaller model."
    ),
    "E16002": _NO_PARSER,
    "E16003": _NO_PARSER,
    "E16005": Cause(
        "The graph imports several opsets.", "Lower it again; this project's graphs import one."
    ),
    "E19010": _NO_PARSER,
    "E20001": Cause(
        "atc could not compile an operator for this chip.",
        "See which in the message; another precision_mode in the target's runner options may help.",
    ),
    "E89999": Cause(
        "Two tensors that meet in an operator have different types.",
        "Use this project's own export and lowering; atc converts no types by itself.",
    ),
    "EZ3002": Cause(
        "A shape in the graph depends on the picture, which this chip does not support.",
        "Use this project's own export and lowering: every shape of its graphs is fixed.",
    ),
    "EZ3003": Cause(
        "The chip has no kernel for an operator with these types and shapes.",
        "See which in the message; try another precision_mode.",
    ),
}
_CODE = re.compile(r"^\s*(?:\[?ERROR\]?\s*)?\[?(E[A-Z]?\d{4,5})\]?:?\s*(.*)$", re.MULTILINE)


def explained(log: str) -> CascadeportError | None:
    """The error that a log of atc tells of, as a sentence with its cause; None: none is there."""
    found = [(match[1], match[2].strip()) for match in _CODE.finditer(log)]
    if not found:
        return None
    # A code that is known says more than the general one that often stands before it.
    code, text = next((one for one in found if one[0] in CAUSES), found[0])
    cause = CAUSES.get(
        code, Cause("atc failed.", "Look the code up in the vendor's list of atc's errors.")
    )
    return CascadeportError(cause.what, where=f"atc: {code}: {text}"[:500], next=cause.remedy)
