"""NNCF, Intel's tool for OpenVINO: statistics, QuantizeLinear/DequantizeLinear, corrected biases.

It takes the lowered ONNX graph and gives one, which OpenVINO reads as int8; so the network stays
one file, with the names of its nodes. What stays in float32 after all is restored in NNCF's graph:
its ranges are the same with fewer nodes.
"""

from __future__ import annotations

import logging
from typing import Any

import nncf  # type: ignore[import-not-found]
import numpy as np
import onnx

from cascadeport.quantise.tool import events
from cascadeport.quantise.tool.restoring import fold_casts, restored


def quantise(request: dict[str, Any]) -> None:
    """Writes every variant of the request; calibrates unless `ranges` has NNCF's graph."""
    logging.getLogger("nncf").setLevel(logging.ERROR)
    original = fold_casts(onnx.load(request["graph"]))
    try:
        everything = onnx.load(request["ranges"])
    except FileNotFoundError:
        everything = _quantised(original, request)
        onnx.save(everything, request["ranges"])
    for variant in request["variants"]:
        onnx.save(restored(everything, original, variant["float"]), variant["out"])


def _quantised(original: onnx.ModelProto, request: dict[str, Any]) -> onnx.ModelProto:
    wanted = set(request["nodes"])
    ignored = [node.name for node in original.graph.node if node.name not in wanted]
    name, paths = original.graph.input[0].name, request["inputs"]
    done = 0

    def read(path: str) -> dict[str, Any]:
        nonlocal done
        events.progress("calibrate", min(done, len(paths)), len(paths))
        done += 1
        return {name: np.load(path)}

    copy = onnx.ModelProto()
    copy.CopyFrom(original)
    found: onnx.ModelProto = nncf.quantize(
        copy,
        nncf.Dataset(paths, read),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(paths),
        fast_bias_correction=True,
        ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
    )
    events.progress("calibrate", len(paths), len(paths))
    return found
