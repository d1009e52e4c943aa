"""What the error codes of atc mean, and what helps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError


@dataclass(frozen=True)
class Cause:
    """What an error code of atc means: a sentence, and what helps."""

    what: str
    remedy: str


_NO_PARSER = Cause(
    "atc of this CANN does not know an operator of the graph, or not in this opset.",
    "Use CANN 5.1.RC2 or newer, and the graph that this project's lowering makes: one opset (9 to "
    "13), no domain.",
)
_NODES = Cause(
    "An output node that atc was given does not exist in the graph.",
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
    "E10007": Cause(
        "An option that atc needs is missing.", "This is a bug in Cascadeport: report it."
    ),
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
