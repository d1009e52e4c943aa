"""Lowering for today's onnxruntime: opset 19, where deformable convolution is an operator.

Not 22 or later: onnxruntime 1.32.0 has no RoiAlign of that opset.
"""

from __future__ import annotations

import onnx

from cascadeport.graph.deform import deform_conv_19
from cascadeport.graph.editing import Graph
from cascadeport.graph.neutral import DOMAIN
from cascadeport.graph.nms import multi_class_nms, proposal_nms
from cascadeport.graph.passes import fold_batch_norms, fold_constants
from cascadeport.graph.rewriting import rewrite
from cascadeport.graph.roi import roi_extractor

OPSET = 19


def lower(graph: Graph) -> onnx.ModelProto:
    """The neutral graph in operators of opset 19."""
    return finish(rewritten(graph))


def rewritten(graph: Graph) -> Graph:
    """The same, still to be edited."""
    fold_constants(graph)
    fold_batch_norms(graph)
    rewrite(graph, {"ProposalNMS": proposal_nms, "MultiClassNMS": multi_class_nms})
    # Nodes of the neutral domain become operators of the new opset after it is lifted.
    lifted = graph.lifted(OPSET)
    rewrite(lifted, {"DeformConv": deform_conv_19, "RoiExtractor": roi_extractor(OPSET)})
    return lifted


def finish(graph: Graph) -> onnx.ModelProto:
    """The model of a graph that was rewritten."""
    graph.drop_unused()
    model = graph.to_model()
    set_opset(model, OPSET)
    return model


def set_opset(model: onnx.ModelProto, version: int) -> None:
    """Leaves one opset import: ai.onnx of this version."""
    assert not any(node.domain == DOMAIN for node in model.graph.node)
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", version))
