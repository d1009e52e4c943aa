"""Finds the tensors of a two-stage detector in its neutral graph, by structure.

The neutral operators say where the detector's parts meet: RoiExtractor reads the levels of the
pyramid, ProposalNMS gives the proposals, MultiClassNMS reads the last boxes and scores. What is
between them is found from there; lowerings keep the names of values.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx

from cascadeport.graph.editing import EditableGraph, load
from cascadeport.graph.neutral import DOMAIN

#: The stage of what is computed after the last anchor.
FINAL = "final"


@dataclass(frozen=True)
class Anchor:
    """A named tensor at the border of two parts of the detector.

    Attributes:
        stage: `C3`, `P3`, `RPN P3`, `proposals`, `cascade 1`, `final`.
        what: What it is within the stage: `features`, `scores`, `deltas`, `boxes`.
        value: The value's name in the graph.
    """

    stage: str
    what: str
    value: str


def named(node: onnx.NodeProto, graph: EditableGraph | None = None) -> str:
    """An operator in words: its type, and its module by the name of its weights, else its name."""
    for name in node.input if graph else ():
        if graph and name in graph.constants and "." in name:
            return f"{node.op_type} {name.rsplit('.', 1)[0].removeprefix('model.')}"
    own = str(node.name)
    return own if own.startswith(node.op_type) else f"{node.op_type} {own}".strip()


def _weight(node: onnx.NodeProto) -> int:
    """How much an operator computes: the smaller, the more."""
    if node.domain == DOMAIN:
        return 0
    return 1 if node.op_type in ("Conv", "Gemm", "MatMul") else 2


class Anatomy:
    """The anchors of a neutral graph in the order of computation, and words for every value.

    Attributes:
        anchors: The anchors.
        proposals: The value that holds the proposals; empty: there is none.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = EditableGraph(model)
        self._producers = self._graph.producers()
        self._consumers = self._graph.consumers()
        self.proposals = ""
        self.anchors = list(self._found())
        self._stages = self._stage_of_values()

    @classmethod
    def of(cls, neutral: Path) -> Anatomy:
        """The anatomy of a neutral graph's file."""
        return cls(load(neutral))

    def stage(self, value: str) -> str:
        """The stage that a value is computed in; empty for a value that is not in the graph."""
        return self._stages.get(value, "")

    def words(self, value: str, before: Collection[str] = ()) -> str:
        """What makes a value: `DeformConv backbone.layer2.0.conv2`; empty if unknown.

        Args:
            before: The values that it is computed from; of the operators in between, the heaviest
                is named.
        """
        between: list[onnx.NodeProto] = []
        waiting = [value]
        while waiting:
            node = self._producers.get(waiting.pop())
            if node is None or node in between:
                continue
            between.append(node)
            waiting += [name for name in node.input if before and name not in before]
        if not between:
            return ""
        return named(min(between, key=_weight), self._graph)

    # --- anchors

    def _neutral(self, kind: str) -> list[onnx.NodeProto]:
        return [
            node for node in self._graph.nodes if node.domain == DOMAIN and node.op_type == kind
        ]

    def _found(self) -> Iterator[Anchor]:
        extractors = self._neutral("RoiExtractor")
        levels = list(extractors[0].input[:-1]) if extractors else []
        backbone = [self._below(level) for level in levels]
        for number, value in enumerate(backbone, 2):
            if value:
                yield Anchor(f"C{number}", "features", value)
        pyramid = levels + self._more_levels(levels)
        for number, value in enumerate(pyramid, 2):
            yield Anchor(f"P{number}", "features", value)
        for number, level in enumerate(pyramid, 2):
            yield from self._rpn(f"RPN P{number}", level)
        for node in self._neutral("ProposalNMS")[:1]:
            self.proposals = node.output[0]
            yield Anchor("proposals", "boxes and scores", node.output[0])
        for number, node in enumerate(extractors, 1):
            yield from self._head(f"cascade {number}", node, extractors[number : number + 1])
        for node in self._neutral("MultiClassNMS")[:1]:
            yield Anchor("NMS", "boxes", node.input[0])
            yield Anchor("NMS", "scores", node.input[1])
            yield Anchor(FINAL, "boxes and scores", node.output[0])
            yield Anchor(FINAL, "labels", node.output[1])

    def _below(self, level: str) -> str:
        """The backbone's features of a level of the pyramid: what its lateral convolution reads."""
        node = self._producers.get(level)
        for _ in range(2):
            if node is None or node.op_type != "Conv":
                return ""
            summed = self._producers.get(node.input[0])
            if summed is not None and summed.op_type == "Add":
                branches = [self._producers.get(name) for name in summed.input]
                lateral = [one for one in branches if one is not None and one.op_type == "Conv"]
                return str(lateral[0].input[0]) if lateral else ""
            if summed is not None and summed.op_type == "Conv":
                return str(summed.input[0])
            node = summed
        return ""

    def _more_levels(self, levels: list[str]) -> list[str]:
        """Levels that only the RPN reads: a pooling of the last one."""
        if not levels:
            return []
        return [
            node.output[0]
            for node in self._consumers.get(levels[-1], [])
            if node.op_type == "MaxPool"
        ]

    def _rpn(self, stage: str, level: str) -> Iterator[Anchor]:
        for shared in self._consumers.get(level, []):
            if shared.op_type != "Conv":
                continue
            for relu in self._consumers.get(shared.output[0], []):
                heads = [
                    one for one in self._consumers.get(relu.output[0], []) if one.op_type == "Conv"
                ]
                heads.sort(key=lambda one: self._graph.constants.kind(one.input[1])[1][0])
                if relu.op_type == "Relu" and len(heads) == 2:
                    yield Anchor(stage, "scores", heads[0].output[0])
                    yield Anchor(stage, "deltas", heads[1].output[0])

    def _head(
        self, stage: str, node: onnx.NodeProto, following: list[onnx.NodeProto]
    ) -> Iterator[Anchor]:
        yield Anchor(stage, "RoI features", node.output[0])
        last = self._last_products(node.output[0])
        deltas = [one for one in last if self._reaches(one.output[0], "Exp")]
        for one in last:
            if one not in deltas:
                yield Anchor(stage, "class scores", one.output[0])
        for one in deltas:
            yield Anchor(stage, "deltas", one.output[0])
        for one in following:
            yield Anchor(stage, "boxes", one.input[-1])

    def _last_products(self, value: str) -> list[onnx.NodeProto]:
        """The matrix products of a head that no other product of it follows."""
        found: list[onnx.NodeProto] = []
        waiting, seen = [value], set()
        while waiting:
            for node in self._consumers.get(waiting.pop(), []):
                if id(node) in seen or node.op_type not in (
                    *("Gemm", "MatMul", "Flatten", "Reshape", "Relu", "Add"),
                ):
                    continue
                seen.add(id(node))
                if node.op_type in ("Gemm", "MatMul"):
                    found.append(node)
                    waiting.append(node.output[0])
                elif node.op_type != "Add" or any(n in self._graph.constants for n in node.input):
                    waiting.append(node.output[0])
        return [one for one in found if not self._leads_to_product(one.output[0])]

    def _leads_to_product(self, value: str) -> bool:
        return any(
            node.op_type in ("Gemm", "MatMul")
            or (node.op_type == "Relu" and self._leads_to_product(node.output[0]))
            for node in self._consumers.get(value, [])
        )

    def _reaches(self, value: str, kind: str) -> bool:
        """Whether an operator follows before the next neutral operator."""
        waiting, seen = [value], set()
        while waiting:
            for node in self._consumers.get(waiting.pop(), []):
                if id(node) in seen or node.domain == DOMAIN:
                    continue
                seen.add(id(node))
                if node.op_type == kind:
                    return True
                waiting.extend(node.output)
        return False

    def _stage_of_values(self) -> dict[str, str]:
        """For each value, the stage of the first anchor that is computed from it."""
        found: dict[str, str] = {}
        for anchor in self.anchors:
            waiting = [anchor.value]
            while waiting:
                name = waiting.pop()
                if name in found or name not in self._producers:
                    continue
                found[name] = anchor.stage
                waiting.extend(self._producers[name].input)
        for node in self._graph.nodes:
            for name in node.output:
                found.setdefault(name, FINAL)
        return found
