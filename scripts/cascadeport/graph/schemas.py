"""Registers operators with ONNX, so that its checker and its shape inference know them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Union

from onnx import defs, helper

# Spelled for Python 3.9, on which this package runs inside the Ascend images.
Shape = list[Union[int, str, None]]  # noqa: UP007
#: Sets the outputs' types and shapes from those of the inputs.
Infer = Callable[[Any], None]
Options = defs.OpSchema.FormalParameterOption


def register(
    name: str,
    domain: str,
    infer: Infer,
    inputs: Sequence[tuple[str, str] | tuple[str, str, str]],
    outputs: Sequence[tuple[str, str]],
    attributes: Sequence[defs.OpSchema.Attribute],
) -> None:
    """Registers version 1 of an operator, once.

    Args:
        name: The operator.
        domain: Its domain.
        infer: Its shape inference.
        inputs: Name, type such as `tensor(float)`, and `Optional` or `Variadic` if it is.
        outputs: Name and type.
        attributes: See `required` and `optional`.
    """
    if defs.has(name, domain=domain):
        return
    schema = defs.OpSchema(
        name,
        domain,
        1,
        doc="Registered for checks and shape inference.",
        inputs=[_parameter(*entry) for entry in inputs],
        outputs=[_parameter(*entry) for entry in outputs],
        attributes=list(attributes),
    )
    schema.set_type_and_shape_inference_function(infer)
    defs.register_schema(schema)


def required(**kinds: str) -> list[defs.OpSchema.Attribute]:
    """Required attributes, by name and kind (`INT`, `FLOATS`, ...)."""
    return [_attribute(name, kind, True) for name, kind in kinds.items()]


def optional(**kinds: str) -> list[defs.OpSchema.Attribute]:
    """Optional attributes, likewise."""
    return [_attribute(name, kind, False) for name, kind in kinds.items()]


def shape_of(context: Any, index: int) -> Shape | None:
    """The shape of an input while shapes are inferred."""
    kind = context.get_input_type(index)
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    return [
        side.dim_value if side.HasField("dim_value") else (side.dim_param or None)
        for side in kind.tensor_type.shape.dim
    ]


def set_output(context: Any, index: int, elem: int, shape: Shape) -> None:
    """Sets the type and shape of an output, if the node has that output."""
    if index < context.get_num_outputs():
        context.set_output_type(index, helper.make_tensor_type_proto(elem, shape))


def _parameter(name: str, kind: str, option: str = "Single") -> defs.OpSchema.FormalParameter:
    return defs.OpSchema.FormalParameter(name, kind, param_option=getattr(Options, option))


def _attribute(name: str, kind: str, needed: bool) -> defs.OpSchema.Attribute:
    return defs.OpSchema.Attribute(
        name, getattr(defs.OpSchema.AttrType, kind), name, required=needed
    )
