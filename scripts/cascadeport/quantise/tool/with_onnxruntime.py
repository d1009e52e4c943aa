"""onnxruntime's own static quantisation: QuantizeLinear and DequantizeLinear around int8 nodes.

uint8 activations with a zero point, int8 weights per channel. Weights have 7 bits: without VNNI, a
processor adds two products of 8 bits in 16 and saturates, so that the same network would detect
something else there (microsoft/onnxruntime, `quantize_static`: "reduce_range").
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import (  # type: ignore[import-untyped]
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from cascadeport.quantise.tool import events


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds the calibration inputs, and says how far it is."""

    def __init__(self, name: str, paths: list[str]) -> None:
        self._name, self._paths = name, paths
        self._feeds = self._read()

    def _read(self) -> Iterator[dict[str, Any]]:
        for done, path in enumerate(self._paths):
            events.progress("calibrate", done, len(self._paths))
            yield {self._name: np.load(path)}
        events.progress("calibrate", len(self._paths), len(self._paths))

    def get_next(self) -> dict[str, Any] | None:
        """See onnxruntime."""
        return next(self._feeds, None)


def quantise(request: dict[str, Any]) -> None:
    """Writes every variant of the request; calibrates once."""
    logging.getLogger().setLevel(logging.ERROR)  # it recommends a pass that our lowering has done
    graph = onnx.load(request["graph"], load_external_data=False).graph
    kinds = {node.name: node.op_type for node in graph.node}
    ranges = Path(request["ranges"])
    for variant in request["variants"]:
        kept = set(variant["float"])
        nodes = [name for name in request["nodes"] if name not in kept]
        if not nodes:
            raise events.ToolError("Nothing is left to quantise.", request["graph"], "")
        reader = None
        if not ranges.is_file():
            # Every range that any variant may need.
            reader = _Reader(graph.input[0].name, request["inputs"])
            nodes_now = request["nodes"]
        else:
            nodes_now = nodes
        _quantise(request, variant["out"], nodes_now, kinds, reader)
        if nodes_now is not nodes and nodes != request["nodes"]:
            _quantise(request, variant["out"], nodes, kinds, None)


def _quantise(
    request: dict[str, Any],
    out: str,
    nodes: list[str],
    kinds: dict[str, str],
    reader: _Reader | None,
) -> None:
    quantize_static(
        request["graph"],
        out,
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=sorted({kinds[name] for name in nodes}),
        nodes_to_quantize=nodes,
        per_channel=True,
        reduce_range=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        calibration_cache_path=request["ranges"],
        # QGemm gives float32: only what another layer reads is rounded again.
        extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
    )
