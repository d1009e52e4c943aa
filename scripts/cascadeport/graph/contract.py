"""The contract every network obeys: one input, two outputs, nothing that only one runtime has.

    input   `input`   float32 (1,3,H,W) normalised by the host, or uint8 (1,H,W,3) normalised inside
    output  `boxes`   float32 (n,5): x1,y1,x2,y2,score in network pixels, n free or fixed
    output  `labels`  int32 or int64 (n)

A network for N pictures at once takes (N,3,H,W) or (N,H,W,3) and has two outputs for each picture:
`boxes_0`, `labels_0`, `boxes_1`, ... in their order.

A model card may give other names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from cascadeport.base.errors import CascadeportError
from cascadeport.graph.batching import outputs as output_names
from cascadeport.graph.editing import EditableGraph, load
from cascadeport.graph.malformed import explained

FLOAT, UINT8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
LABELS = (onnx.TensorProto.INT32, onnx.TensorProto.INT64)
#: Domains whose operators every onnxruntime has.
KNOWN_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Contract:
    """The inputs and outputs of a checked network.

    Attributes:
        input: Name of the input.
        dtype: `float32` or `uint8`.
        height: Height of the input, in pixels.
        width: Width of the input, in pixels.
        boxes: Name of the output with the boxes.
        labels: Name of the output with the labels.
        detections: The fixed number of detections; None where it varies between pictures.
        opset: Version of the standard operators.
        pictures: How many pictures it takes at once.
    """

    input: str
    dtype: str
    height: int
    width: int
    boxes: str
    labels: str
    detections: int | None
    opset: int
    pictures: int = 1


def check_contract(
    path: Path,
    *,
    input: str = "input",
    boxes: str = "boxes",
    labels: str = "labels",
    dtype: str | None = None,
    size: int | tuple[int, int] | None = None,
    pictures: int = 1,
) -> Contract:
    """Checks an ONNX file against the contract, without running it.

    Args:
        path: The file.
        input: The input's name on the model card; `boxes` and `labels` likewise.
        dtype: `float32` or `uint8`, if the caller expects one of them.
        size: Side of the square, or (height, width), if the caller expects one.
        pictures: How many pictures it takes at once.

    Raises:
        CascadeportError: The network breaks the contract, with every violation in `details`; or
            the file is malformed.
    """
    model = load(path)
    with explained("The network cannot be checked", str(path)):
        return _checked(model, path, input, boxes, labels, dtype, size, pictures)


def _checked(
    model: onnx.ModelProto,
    path: Path,
    input: str,
    boxes: str,
    labels: str,
    dtype: str | None,
    size: int | tuple[int, int] | None,
    pictures: int,
) -> Contract:
    errors = _opset_errors(model) + _operator_errors(model)
    inputs = [value for value in model.graph.input if value.name not in _initializers(model)]
    errors += _input_errors(inputs, input, pictures)
    outputs = {value.name: value for value in model.graph.output}
    names = output_names(boxes, labels, pictures)
    for one, other in zip(names[0::2], names[1::2], strict=True):
        errors += _output_errors(outputs, one, other)
    if not errors:
        try:
            onnx.checker.check_model(EditableGraph(model).skeleton())
        except onnx.checker.ValidationError as error:
            errors.append(f"it is not valid ONNX: {str(error).splitlines()[0]}")
    if errors:
        raise _broken(path, errors)

    kind, shape = _type_of(inputs[0])
    layout = "float32" if kind == FLOAT else "uint8"
    height, width = (shape[2], shape[3]) if kind == FLOAT else (shape[1], shape[2])
    assert height is not None
    assert width is not None
    if dtype is not None and dtype != layout:
        errors.append(f"input {input!r} is {layout}; {dtype} was requested")
    wanted = (size, size) if isinstance(size, int) else size
    if wanted is not None and wanted != (height, width):
        errors.append(
            f"input {input!r} is {height} x {width} (height x width); {wanted[0]} x {wanted[1]} "
            "was requested"
        )
    if errors:
        raise _broken(path, errors)
    _, box_shape = _type_of(outputs[names[0]])
    return Contract(
        input=input,
        dtype=layout,
        height=height,
        width=width,
        boxes=boxes,
        labels=labels,
        detections=box_shape[0],
        opset=max(entry.version for entry in model.opset_import if entry.domain in KNOWN_DOMAINS),
        pictures=pictures,
    )


def _broken(path: Path, errors: list[str]) -> CascadeportError:
    return CascadeportError(
        "The network breaks the contract.",
        where=str(path),
        details=errors,
        next="docs/lowering.md states the contract; change the network or its model card.",
    )


def _opset_errors(model: onnx.ModelProto) -> list[str]:
    # A repeated import is harmless and seen in the wild. Two versions of one domain, or an import
    # of a non-standard domain that nodes use, is not.
    imports = {(entry.domain or "ai.onnx", entry.version) for entry in model.opset_import}
    standard = sorted(version for domain, version in imports if domain == "ai.onnx")
    errors = []
    if len(standard) != 1:
        found = ", ".join(map(str, standard)) or "none"
        errors.append(f"it must import exactly one opset of ai.onnx; it imports: {found}")
    used = {node.domain or "ai.onnx" for node in model.graph.node}
    for domain, version in sorted(imports):
        if domain != "ai.onnx" and domain in used:
            errors.append(f"it imports the non-standard domain {domain} {version}")
    return errors


def _operator_errors(model: onnx.ModelProto, shown: int = 5) -> list[str]:
    foreign = [node for node in model.graph.node if node.domain not in KNOWN_DOMAINS]
    errors = [
        f"node {node.name or node.op_type} is {node.domain}::{node.op_type}, which only "
        "runtimes with that extension support"
        for node in foreign[:shown]
    ]
    if len(foreign) > shown:
        errors.append(f"and {len(foreign) - shown} more nodes of non-standard domains")
    return errors


def _initializers(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def _type_of(value: onnx.ValueInfoProto) -> tuple[int, list[int | None]]:
    tensor = value.type.tensor_type
    shape = [side.dim_value if side.HasField("dim_value") else None for side in tensor.shape.dim]
    return tensor.elem_type, shape


def _name_of(kind: int) -> str:
    if kind not in onnx.TensorProto.DataType.values():
        return f"of the unknown type {kind}"
    return str(onnx.TensorProto.DataType.Name(kind)).lower()


def _input_errors(inputs: list[onnx.ValueInfoProto], name: str, pictures: int) -> list[str]:
    if [value.name for value in inputs] != [name]:
        found = ", ".join(repr(value.name) for value in inputs) or "none"
        return [f"it must have one input, {name!r}; it has {found}"]
    kind, shape = _type_of(inputs[0])
    if kind not in (FLOAT, UINT8):
        return [f"input {name!r} is {_name_of(kind)}; it must be float32 or uint8"]
    layout = f"({pictures},3,H,W)" if kind == FLOAT else f"({pictures},H,W,3)"
    channels = shape[1:2] if kind == FLOAT else shape[3:4]
    if len(shape) != 4 or shape[0] != pictures or channels != [3] or None in shape or 0 in shape:
        sides = ",".join("?" if side is None else str(side) for side in shape)
        return [
            f"input {name!r} is {_name_of(kind)} ({sides}); for that type it must be a fixed "
            f"{layout}"
        ]
    return []


def _output_errors(outputs: dict[str, onnx.ValueInfoProto], boxes: str, labels: str) -> list[str]:
    errors = []
    for name in (boxes, labels):
        if name not in outputs:
            errors.append(f"output {name!r} is missing; it has {', '.join(map(repr, outputs))}")
    if errors:
        return errors
    kind, shape = _type_of(outputs[boxes])
    if kind != FLOAT or len(shape) not in (0, 2) or (len(shape) == 2 and shape[1] not in (5, None)):
        errors.append(f"output {boxes!r} is {_name_of(kind)} {shape}; it must be float32 (n,5)")
    kind, shape = _type_of(outputs[labels])
    if kind not in LABELS or len(shape) > 1:
        errors.append(
            f"output {labels!r} is {_name_of(kind)} {shape}; it must be int32 or int64 (n)"
        )
    return errors
