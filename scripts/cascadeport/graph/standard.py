"""Lowering for onnxruntime since 1.9 and whatever reads ONNX: opset 11, standard operators."""

from __future__ import annotations

import onnx

from .deform import deform_conv_by_gather
from .editing import Graph
from .nms import multi_class_nms, proposal_nms
from .onnxruntime import set_opset
from .passes import fold_batch_norms, fold_constants
from .rewriting import Rule, rewrite
from .roi import roi_extractor

OPSET = 11


def lower(graph: Graph) -> onnx.ModelProto:
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
