"""Lowering for Ascend without CANN's three detection operators: standard operators of opset 11.

For a release or a chip whose packages lack them. Every shape is fixed, as on the lowering
`ascend`: nothing depends on how many boxes a picture has.

    deformable convolution   standard_deform.py   gathers and one matrix product
    RoIs                     standard_roi.py      a RoiAlign of every level, and masks
    NMS                      standard_nms.py      a matrix of overlaps, and rounds of suppression

All of it must also work where atc makes every tensor float16 (its default): whole numbers above
2048 are integers here, and boxes are scaled before their areas are computed.
"""

from __future__ import annotations

import onnx

from cascadeport.backends.ascend.atc_graph import finish
from cascadeport.backends.ascend.lowering import Ascend
from cascadeport.backends.ascend.standard_deform import deform_conv
from cascadeport.backends.ascend.standard_nms import CANDIDATES, ROUNDS, StandardNms
from cascadeport.backends.ascend.standard_roi import roi_extractor
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.lowering import Lowering, LoweringRequest, refuse_precision
from cascadeport.graph.passes import fold_constants
from cascadeport.graph.rewriting import Rule, rewrite

#: What differs from PyTorch in every such graph, for the comparison table.
CHANGES = [
    "NMS in the precision that atc chooses, float16 unless the target says otherwise",
    f"NMS settles in {ROUNDS} rounds; of pairs of box and class, it sees the best {CANDIDATES}",
    "deformable convolution multiplies in float16",
    "RoIs thinner than one cell of their pyramid level are widened to one cell",
]


class AscendStandard(Ascend):
    """Opset 11 and standard operators only; its defaults are those of `ascend`."""

    name = "ascend-standard"

    def check(self, request: LoweringRequest) -> None:
        """See `Lowering`."""
        remedy = "On Ascend it is atc's: precision_mode in the target's row of targets.toml."
        refuse_precision(self, request, remedy)

    def round_before_nms(self, graph: EditableGraph) -> list[str]:
        """See `Lowering`."""
        return Lowering.round_before_nms(self, graph)

    def rewrite(
        self, graph: EditableGraph, request: LoweringRequest, changes: list[str]
    ) -> onnx.ModelProto:
        """See `Lowering`."""
        changes.extend(CHANGES)
        fold_constants(graph)
        nms = StandardNms()
        rules: dict[str, Rule] = {
            "DeformConv": deform_conv,
            "RoiExtractor": roi_extractor,
            "ProposalNMS": nms.proposal_nms,
            "MultiClassNMS": nms.multi_class_nms,
        }
        rewrite(graph, rules)
        return finish(graph, nms.shapes)
