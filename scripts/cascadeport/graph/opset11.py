"""Lowering to opset 11: standard operators that every ONNX runtime has, onnxruntime 1.9 too."""

from __future__ import annotations

import onnx

from cascadeport.graph.deform import deform_conv_by_gather
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.nms import multi_class_nms, proposal_nms
from cascadeport.graph.opset19 import set_opset
from cascadeport.graph.passes import fold_batch_norms, fold_constants
from cascadeport.graph.rewriting import Rule, rewrite
from cascadeport.graph.roi import roi_extractor

OPSET = 11


def lower(graph: EditableGraph) -> onnx.ModelProto:
    """The neutral graph in operators of opset 11."""
    fold_constants(graph)
    fold_batch_norms(graph)
    rules: dict[str, Rule] = {
        "ProposalNMS": proposal_nms,
        "MultiClassNMS": multi_class_nms,
        "DeformConv": deform_conv_by_gather,
        "RoiExtractor": roi_extractor(OPSET),
    }
    rewrite(graph, rules)
    model = graph.to_model()
    set_opset(model, OPSET)
    return model
