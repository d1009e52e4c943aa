"""What lowerings to NMS of a fixed length share: results are padded with rows of score 0."""

from __future__ import annotations

import onnx

from cascadeport.graph.editing import Builder, attribute


class PaddedNms:
    """Remembers the padding of one NMS for the next.

    A padding row among the proposals must not become a detection: its class scores are set to 0.

    Attributes:
        real: The value (n,1) that is 1 for a proposal and 0 for a padding row.
        proposals: How many rows of proposals there are, padding included.
        shapes: The shapes of the network's outputs, once they are known.
    """

    def __init__(self) -> None:
        self.real = ""
        self.proposals = 0
        self.shapes: list[list[int]] = []

    def keep_proposals(self, build: Builder, node: onnx.NodeProto, best: str, score: str) -> None:
        """Writes a ProposalNMS's output, and remembers which of its rows are padding.

        Args:
            best: The boxes (n,4).
            score: Their scores (n,1), 0 for padding.
        """
        self.proposals = attribute(node, "max_detections")
        positive = build.op("Greater", [score, build.const(0.0)])
        self.real = build.op("Cast", [positive], to=onnx.TensorProto.FLOAT)
        build.op("Concat", [best, score], outputs=[node.output[0]], axis=1)

    def keep_shapes(self, node: onnx.NodeProto) -> None:
        """Remembers the shapes of a MultiClassNMS's outputs."""
        count = attribute(node, "max_detections")
        self.shapes = [[count, 5], [count]]
