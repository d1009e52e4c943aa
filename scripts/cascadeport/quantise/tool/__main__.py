"""`python -m cascadeport.quantise.tool REQUEST.json`: see the package.

The request is JSON:

    tool      `onnxruntime` or `nncf`
    graph     the float32 graph, ONNX
    inputs    the calibration inputs: files of float32 (1,3,H,W), .npy
    nodes     names of the nodes that may become int8
    ranges    a file that keeps what was calibrated, for a later request about the same graph
    variants  a list of {"out": file, "float": names of nodes that stay in float32 after all}

Exit code 0, or 2 after an error.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from pathlib import Path
from typing import Any

from cascadeport.quantise.tool import events

_TOOLS = ("nncf", "onnxruntime")
# linux/prctl.h: PR_SET_PDEATHSIG.
_SET_DEATH_SIGNAL = 1


def main(arguments: list[str]) -> int:
    """Quantises; returns the exit code."""
    events.claim_standard_output()
    _end_with_parent()
    # NNCF imports it to report its use where it is installed; nothing of ours does.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        with Path(arguments[0]).open(encoding="utf-8") as stream:
            request: dict[str, Any] = json.load(stream)
        _run(request)
    except events.ToolError as error:
        events.emit("error", what=error.what, where=error.where, next=error.next)
        return 2
    except MemoryError:
        events.emit(
            "error",
            what="There is not enough memory to quantise the network.",
            where=str(request.get("graph", "")),
            next="Calibrate with fewer pictures (--calibration-pictures), or on a larger machine.",
        )
        return 2
    return 0


def _end_with_parent() -> None:
    """Calibrating takes minutes: nobody would wait for it any more."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _run(request: dict[str, Any]) -> None:
    if request["tool"] not in _TOOLS:
        raise events.ToolError(f"There is no tool '{request['tool']}'.", "request: tool", "")
    if request["tool"] == "nncf":
        from cascadeport.quantise.tool import with_nncf as tool
    else:
        from cascadeport.quantise.tool import with_onnxruntime as tool  # type: ignore[no-redef]
    try:
        tool.quantise(request)
    except (events.ToolError, MemoryError):
        raise
    except Exception as error:  # neither tool's exceptions have a base class of their own
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise events.ToolError(
            f"{request['tool']} could not quantise the network: {first[0]}",
            request["graph"],
            "Run again with --keep-failed and report quantise.log; or use another --precision.",
        ) from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
