"""Small neutral graphs for the tests, and the operators said as plainly as numpy can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from cascadeport.graph import neutral
from onnx import helper, numpy_helper

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64


def model_of(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, int],
    constants: dict[str, np.ndarray],
) -> onnx.ModelProto:
    """A neutral graph of these nodes (float inputs, outputs by element type)."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    imports = [helper.make_opsetid("", 11), helper.make_opsetid(neutral.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=6)


def run(model: onnx.ModelProto | Path, feeds: dict[str, np.ndarray]) -> list[Any]:
    """All outputs of a model in onnxruntime."""
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


def naive_deform_conv(
    x: np.ndarray,
    weight: np.ndarray,
    offset: np.ndarray,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    deform_groups: int = 1,
) -> np.ndarray:
    """Deformable convolution v1 by its definition, one sample at a time."""
    _, channels, height, width = x.shape
    out, _, kh, kw = weight.shape
    _, _, oh, ow = offset.shape
    result = np.zeros((1, out, oh, ow))
    per_group = channels // deform_groups

    def at(c: slice, y: int, x_: int) -> Any:
        if 0 <= y < height and 0 <= x_ < width:
            return x[0, c, y, x_].astype(np.float64)
        return np.zeros(c.stop - c.start)

    for oy in range(oh):
        for ox in range(ow):
            for group in range(deform_groups):
                c = slice(group * per_group, (group + 1) * per_group)
                for i in range(kh):
                    for j in range(kw):
                        k = 2 * (group * kh * kw + i * kw + j)
                        y = oy * strides[0] - pads[0] + i * dilations[0] + offset[0, k, oy, ox]
                        x_ = ox * strides[1] - pads[1] + j * dilations[1] + offset[0, k + 1, oy, ox]
                        if not (-1 < y < height and -1 < x_ < width):
                            continue
                        y0, x0 = int(np.floor(y)), int(np.floor(x_))
                        fy, fx = y - y0, x_ - x0
                        value = (
                            (1 - fy) * (1 - fx) * at(c, y0, x0)
                            + (1 - fy) * fx * at(c, y0, x0 + 1)
                            + fy * (1 - fx) * at(c, y0 + 1, x0)
                            + fy * fx * at(c, y0 + 1, x0 + 1)
                        )
                        result[0, :, oy, ox] += weight[:, c, i, j] @ value
    return result
