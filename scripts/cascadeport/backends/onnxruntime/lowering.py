"""Lowerings for onnxruntime: current releases, and those since 1.9 without `DeformConv`."""

from __future__ import annotations

import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph import opset11, opset19
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.float16 import convert_to_float16
from cascadeport.graph.lowering import Lowering, Request


class Current(Lowering):
    """Opset 19, where deformable convolution is an operator; float32 or float16."""

    name = "onnxruntime"

    def rewrite(
        self, graph: EditableGraph, request: Request, changes: list[str]
    ) -> onnx.ModelProto:
        """See `Lowering`."""
        rewritten = opset19.rewritten(graph)
        if request.precision == "float16":
            changes.extend(convert_to_float16(rewritten))
        return opset19.finish(rewritten)


class Standard(Lowering):
    """Opset 11, standard operators only."""

    name = "onnxruntime-1.9"

    def check(self, request: Request) -> None:
        """See `Lowering`."""
        if request.precision is not None:
            raise CascadeportError(
                f"The lowering '{self.name}' has no choice of precision.",
                where=f"--precision {request.precision}",
                next="Use an onnxruntime of 1.32 or later, or leave --precision out.",
            )

    def rewrite(
        self, graph: EditableGraph, request: Request, changes: list[str]
    ) -> onnx.ModelProto:
        """See `Lowering`."""
        return opset11.lower(graph)
