"""A network that sees: for every channel, the bounding box of what is bright in it.

It obeys the contract and its boxes come from the pixels, so that wrong geometry gives wrong boxes.
Opset 11, for the oldest onnxruntime as well as the newest.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SCORES = (0.9, 0.8, 0.7)
"""The scores of channel 0, 1 and 2, whose labels are 0, 1 and 2."""

_PADDING_ROWS = 2


def save(
    path: Path,
    *,
    size: int | tuple[int, int] | None,
    dtype: str = "float32",
    threshold: float = 0.5,
    label_type: int = TensorProto.INT64,
) -> Path:
    """Writes the network.

    Args:
        path: Where to.
        size: Edge of the input, or its height and width; None: it takes every size.
        dtype: float32 (1,3,height,width), or uint8 (1,height,width,3).
        threshold: A value above it is bright.
        label_type: INT64 or INT32.
    """
    height, width = (size, size) if isinstance(size, int) else size or ("height", "width")
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {
        "threshold": np.array(threshold, np.float32),
        "one": np.array(1, np.float32),
        "scores": np.array(SCORES, np.float32).reshape(1, 3),
        "padding": np.zeros((_PADDING_ROWS, 5), np.float32),
        "found_labels": np.array([0, 1, 2] + [0] * _PADDING_ROWS, np.int64),
    }

    def add(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    pixels = "input"
    if dtype == "uint8":
        cast = add("Cast", ["input"], "as_float", to=TensorProto.FLOAT)
        pixels = add("Transpose", [cast], "planes", perm=[0, 3, 1, 2])
    bright = add("Greater", [pixels, "threshold"], "bright")
    mask = add("Cast", [bright], "mask", to=TensorProto.FLOAT)
    corners: dict[str, str] = {}
    for name, axis, edge in (("x", 2, width), ("y", 3, height)):
        if isinstance(edge, int):
            constants[f"index_{name}"] = np.arange(edge, dtype=np.float32).reshape(1, 1, edge)
            constants[f"from_end_{name}"] = edge - constants[f"index_{name}"]
            constants[f"size_{name}"] = np.array(edge, np.float32)
        else:
            constants[f"axis_{name}"] = np.array(5 - axis, np.int64)
            constants["zero"], constants["step"] = np.array(0, np.int64), np.array(1, np.int64)
            whole = add("Shape", [pixels], f"shape_{name}")
            whole = add("Gather", [whole, f"axis_{name}"], f"edge_{name}")
            positions = add("Range", ["zero", whole, "step"], f"positions_{name}")
            add("Cast", [positions], f"index_{name}", to=TensorProto.FLOAT)
            add("Cast", [whole], f"size_{name}", to=TensorProto.FLOAT)
            add("Sub", [f"size_{name}", f"index_{name}"], f"from_end_{name}")
        line = add("ReduceMax", [mask], f"line_{name}", axes=[axis], keepdims=0)  # (1, 3, edge)
        first = add("Mul", [line, f"from_end_{name}"], f"first_{name}")
        first = add("ReduceMax", [first], f"to_end_{name}", axes=[2], keepdims=0)  # (1, 3)
        corners[name + "1"] = add("Sub", [f"size_{name}", first], name + "1")
        last = add("Add", [f"index_{name}", "one"], f"end_{name}")
        last = add("Mul", [line, last], f"ends_{name}")
        corners[name + "2"] = add("ReduceMax", [last], name + "2", axes=[2], keepdims=0)
        seen = add("ReduceMax", [line], f"seen_{name}", axes=[2], keepdims=0)
    score = add("Mul", ["scores", seen], "score")
    columns = [corners["x1"], corners["y1"], corners["x2"], corners["y2"], score]
    rows = add("Concat", columns, "rows", axis=0)  # (5, 3)
    found = add("Transpose", [rows], "found", perm=[1, 0])
    add("Concat", [found, "padding"], "boxes", axis=0)
    add("Cast", ["found_labels"], "labels", to=label_type)

    count = len(SCORES) + _PADDING_ROWS
    shape = [1, height, width, 3] if dtype == "uint8" else [1, 3, height, width]
    kind = TensorProto.UINT8 if dtype == "uint8" else TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", kind, shape)],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [count, 5]),
            helper.make_tensor_value_info("labels", label_type, [count]),
        ],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 7
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
