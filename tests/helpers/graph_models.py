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


def naive_roi_align(
    feature: np.ndarray, box: np.ndarray, scale: float, size: tuple[int, int], aligned: bool = True
) -> np.ndarray:
    """One crop (C,h,w) by the definition: adaptive number of samples, bilinear, mean."""
    _, channels, height, width = feature.shape
    shift = 0.5 if aligned else 0.0
    x0, y0, x1, y1 = (float(side) * scale - shift for side in box)
    roi_w, roi_h = x1 - x0, y1 - y0
    if not aligned:
        roi_w, roi_h = max(roi_w, 1.0), max(roi_h, 1.0)
    nx, ny = int(np.ceil(roi_w / size[1])), int(np.ceil(roi_h / size[0]))
    crop = np.zeros((channels, *size))
    for i in range(size[0]):
        for j in range(size[1]):
            for a in range(ny):
                for b in range(nx):
                    y = y0 + (i + (a + 0.5) / ny) * roi_h / size[0]
                    x = x0 + (j + (b + 0.5) / nx) * roi_w / size[1]
                    if y < -1 or y > height or x < -1 or x > width:
                        continue
                    y, x = max(y, 0.0), max(x, 0.0)
                    yl, xl = min(int(y), height - 1), min(int(x), width - 1)
                    yh, xh = min(yl + 1, height - 1), min(xl + 1, width - 1)
                    fy = 0.0 if yl == height - 1 else y - yl
                    fx = 0.0 if xl == width - 1 else x - xl
                    f = feature[0].astype(np.float64)
                    crop[:, i, j] += (
                        (1 - fy) * (1 - fx) * f[:, yl, xl]
                        + (1 - fy) * fx * f[:, yl, xh]
                        + fy * (1 - fx) * f[:, yh, xl]
                        + fy * fx * f[:, yh, xh]
                    ) / (nx * ny)
    return crop


def naive_nms(
    boxes: np.ndarray, scores: np.ndarray, groups: np.ndarray, threshold: float, limit: int
) -> list[int]:
    """Greedy NMS within groups, indices by falling score."""
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if len(kept) == limit:
            break
        if all(
            groups[index] != groups[other] or overlap(boxes[index], boxes[other]) <= threshold
            for other in kept
        ):
            kept.append(int(index))
    return kept


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inner = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return float(inner / union) if union else 0.0


def random_boxes(draw: np.random.Generator, count: int, size: float) -> np.ndarray:
    """Overlapping boxes (count,4) inside a square."""
    corner = draw.uniform(0, size * 0.8, (count, 2))
    return np.concatenate(
        [corner, np.minimum(corner + draw.uniform(2, size / 2, (count, 2)), size)], axis=1
    ).astype(np.float32)
