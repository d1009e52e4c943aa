"""Gears: the sizes of its input for which atc makes one om file, with a program for each.

atc clones the graph for every gear and compiles each clone like a graph of one size; the constants
are inputs of all clones, so that weights are there once (docs/shapes.md names the sources). In each
clone every shape must be fixed. The stand-in for atc clones with what is here, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from cascadeport.backends.ascend import operators as cann
from cascadeport.base.errors import CascadeportError
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.passes import shapes as shapes_of
from cascadeport.graph.reshaping import at_shape


def check_gears(model: onnx.ModelProto, gears: Sequence[Sequence[int]]) -> None:
    """Checks that every shape in the graph is fixed at each gear, which atc requires.

    Raises:
        CascadeportError: One is not.
    """
    for shape in gears:
        gear = at_shape(model, shape)
        for node in gear.graph.node:
            # Inference knows them in a domain of their own.
            node.domain = cann.DOMAIN if node.op_type in cann.OPERATORS else node.domain
        gear.opset_import.append(onnx.helper.make_opsetid(cann.DOMAIN, cann.VERSION))
        known = shapes_of(EditableGraph(gear))
        for node in gear.graph.node:
            for name in filter(None, node.output):
                if name not in known or None in known[name]:
                    raise CascadeportError(
                        f"At {shape[0]}x{shape[1]} the shape of {name} is not fixed.",
                        where=f"node {node.name}, {node.op_type}",
                        next="Use this project's own export and lowering.",
                    )
