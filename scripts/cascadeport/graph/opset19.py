"""Lowering to opset 19, in which deformable convolution is an operator.

Not 22 or later: onnxruntime 1.32.0 has no RoiAlign of that opset.
"""

from __future__ import annotations

import onnx

from cascadeport.graph.deform import deform_conv_19
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.neutral import DOMAIN
from cascadeport.graph.nms import multi_class_nms, proposal_nms
from cascadeport.graph.passes import fold_batch_norms, fold_constants
from cascadeport.graph.rewriting import rewrite
from cascadeport.graph.roi import roi_extractor

OPSET = 19


def lower(graph: EditableGraph) -> onnx.ModelProto:
    """The neutral graph in operators of opset 19."""
    return finish(rewritten(graph))


def rewritten(graph: EditableGraph) -> EditableGraph:
    """The same as `lower`, as a graph that can still be edited."""
    fold_constants(graph)
    fold_batch_norms(graph)
    rewrite(graph, {"ProposalNMS": proposal_nms, "MultiClassNMS": multi_class_nms})
    # The remaining neutral nodes become operators of the new opset, so the graph is lifted first.
    lifted = graph.lifted(OPSET)
    rewrite(lifted, {"DeformConv": deform_conv_19, "RoiExtractor": roi_extractor(OPSET)})
    return lifted


def finish(graph: EditableGraph) -> onnx.ModelProto:
    """The model of a rewritten graph."""
    graph.drop_unused()
    model = graph.to_model()
    set_opset(model, OPSET)
    return model


def set_opset(model: onnx.ModelProto, version: int) -> None:
    """Sets the only opset import: ai.onnx of this version."""
    assert not any(node.domain == DOMAIN for node in model.graph.node)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", version))
