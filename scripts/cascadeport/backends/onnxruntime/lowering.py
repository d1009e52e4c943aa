"""Lowerings for onnxruntime: current releases, and those since 1.9 without `DeformConv`."""

from __future__ import annotations

import onnx

from cascadeport.graph import opset11, opset19
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.float16 import convert_to_float16
from cascadeport.graph.lowering import Lowering, LoweringRequest, refuse_precision


class CurrentOperators(Lowering):
    """Opset 19, where deformable convolution is an operator; float32 or float16."""

    name = "onnxruntime"
    any_shape = True
    several = True

    def rewrite(
        self, graph: EditableGraph, request: LoweringRequest, changes: list[str]
    ) -> onnx.ModelProto:
        """See `Lowering`."""
        rewritten = opset19.rewritten(graph)
        if request.precision == "float16":
            changes.extend(convert_to_float16(rewritten))
        return opset19.finish(rewritten)


class StandardOperators(Lowering):
    """Opset 11, standard operators only."""

    name = "onnxruntime-1.9"

    def check(self, request: LoweringRequest) -> None:
        """See `Lowering`."""
        remedy = "Use an onnxruntime of 1.32 or later, or leave --precision out."
        refuse_precision(self, request, remedy)

    def rewrite(
        self, graph: EditableGraph, request: LoweringRequest, changes: list[str]
    ) -> onnx.ModelProto:
        """See `Lowering`."""
        return opset11.lower(graph)
