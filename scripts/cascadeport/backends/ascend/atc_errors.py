"""The error codes of atc: causes and remedies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError


@dataclass(frozen=True)
class Cause:
    """The cause of an error code of atc, in a sentence, and what to do."""

    what: str
    remedy: str


_NO_PARSER = Cause(
    "This CANN's atc does not support an operator of the graph, or not in this opset.",
    "Use CANN 5.1.RC2 or newer, and a graph from this project's lowering: one opset (9 to 13), no "
    "domain.",
)
_NODES = Cause(
    "An output node in atc's arguments does not exist in the graph.",
    "The graph was changed after the lowering; lower it again (remove build/models/NAME).",
)
# Codes: Ascend's ge_error_codes of CANN 5.1; the texts vary between releases.
CAUSES: Mapping[str, Cause] = {
    "E10001": Cause(
        "atc does not accept one of its options.",
        "The message names it. It may be a soc of another release, or an option in the target's "
        "row of targets.toml that this atc does not have.",
    ),
    "E10002": Cause(
        "atc does not accept the input's shape.",
        "It comes from the graph: export it again with the size of the model card.",
    ),
    "E10007": Cause(
        "An option that atc needs is missing.", "This is a bug in Cascadeport: report it."
    ),
    "E10011": Cause("atc cannot read one of its input files.", "The message names it."),
    "E10014": Cause("atc does not accept one of its options.", "The message names it."),
    "E10016": _NODES,
    "E11017": _NODES,
    "E10034": Cause(
        "AIPP and another option apply to the same input.",
        "Remove input_fp16_nodes from atc's options.",
    ),
    **dict.fromkeys(
        ("E10019", "E10035", "E10036", "E10038", "E10039", "E10040"),
        Cause(
            "atc does not accept the sizes of the input (--dynamic_image_size).",
            "Choose other SHAPES=, or set gears = false in the target's row of targets.toml: then "
            "there is an om file for each shape.",
        ),
    ),
    "E10041": Cause(
        "atc cannot load the graph.",
        "The file is truncated or not ONNX: lower it again (remove build/models/NAME).",
    ),
    "E10052": Cause(
        "atc does not accept the AIPP configuration.",
        "It is generated from the model card's size, mean and std: check them.",
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
        "The message names it; another precision_mode in the target's row of targets.toml may "
        "help.",
    ),
    "E89999": Cause(
        "The inputs of an operator have different types.",
        "Use this project's own export and lowering; atc does not convert types.",
    ),
    "EZ3002": Cause(
        "The graph has a dynamic shape, which this chip does not support.",
        "Use this project's own export and lowering: all shapes of its graphs are fixed.",
    ),
    "EZ3003": Cause(
        "The chip has no kernel for an operator with these types and shapes.",
        "The message names it; try another precision_mode.",
    ),
}
_CODE = re.compile(r"^\s*(?:\[?ERROR\]?\s*)?\[?(E[A-Z]?\d{4,5})\]?:?\s*(.*)$", re.MULTILINE)


def explain(log: str) -> CascadeportError | None:
    """The error in a log of atc, with its cause; None: the log has no error code."""
    found = [(match[1], match[2].strip()) for match in _CODE.finditer(log)]
    if not found:
        return None
    # A known code says more than the general one that often precedes it.
    code, text = next((one for one in found if one[0] in CAUSES), found[0])
    cause = CAUSES.get(
        code, Cause("atc failed.", "Look the code up in the vendor's list of atc's errors.")
    )
    return CascadeportError(cause.what, where=f"atc: {code}: {text}"[:500], next=cause.remedy)
