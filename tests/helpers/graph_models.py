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


def tiny_detector(
    seed: int = 0, max_proposals: int = 20, max_detections: int = 10
) -> onnx.ModelProto:
    """A neutral graph with everything in it: DCN, batch norm, RPN of two levels, one head.

    Input (1,3,64,64); 3 classes. Weights are random: about as many detections as it may give.
    """
    draw = np.random.default_rng(seed)
    constants: dict[str, np.ndarray] = {}

    def const(name: str, array: np.ndarray) -> str:
        kind = np.float32 if array.dtype.kind == "f" else np.int64
        constants[name] = array.astype(kind)
        return name

    def weights(name: str, *shape: int, spread: float = 1.0) -> str:
        scale = spread / np.sqrt(np.prod(shape[1:]))
        return const(name, draw.normal(0, scale, shape))

    domain = neutral.DOMAIN
    make = helper.make_node
    anchors = []
    for stride, side in ((4, 16), (8, 8)):
        y, x = np.meshgrid(np.arange(side) * stride, np.arange(side) * stride, indexing="ij")
        centre = np.stack([x, y, x, y], axis=-1).reshape(-1, 4)
        anchors.append(centre + np.array([-2, -2, 2, 2]) * stride)
    every = np.clip(np.concatenate(anchors), 0, 64).astype(np.float32)
    nodes = [
        make("Conv", ["input", weights("w0", 8, 3, 3, 3, spread=3), weights("b0", 8)], ["c0"],
             name="stem", strides=[4, 4], pads=[1, 1, 1, 1]),
        make("Conv", ["c0", weights("w1", 18, 8, 3, 3), weights("b1", 18)], ["offset"],
             name="conv_offset", pads=[1, 1, 1, 1]),
        make("DeformConv", ["c0", weights("w2", 8, 8, 3, 3, spread=2), "offset"], ["d0"],
             name="dcn", domain=domain, strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1]),
        make("BatchNormalization", ["d0", const("g", draw.uniform(0.5, 1.5, 8)), weights("be", 8),
             weights("m", 8), const("v", draw.uniform(0.5, 1.5, 8))], ["n0"], name="norm"),
        make("Relu", ["n0"], ["p0"], name="relu"),
        make("MaxPool", ["p0"], ["p1"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
    ]  # fmt: skip
    weights("wr", 1, 8, 1, 1)
    for level in (0, 1):
        nodes += [
            make("Conv", [f"p{level}", "wr"], [f"r{level}"], name=f"rpn_{level}"),
            make("Reshape", [f"r{level}", const("minus", np.array([-1]))], [f"s{level}"]),
        ]
    levels = np.repeat([0, 1], [len(each) for each in anchors])
    nodes += [
        make("Concat", ["s0", "s1"], ["logits"], axis=0),
        make("Sigmoid", ["logits"], ["scores"]),
        make("ProposalNMS", [const("anchors", every), "scores", const("levels", levels)], ["props"],
             name="rpn_nms", domain=domain, iou_threshold=0.6, max_detections=max_proposals),
        make("Slice", ["props", const("i4", np.array([4])), const("i5", np.array([5])),
             const("axis1", np.array([1]))], ["objectness"]),
        make("Slice", ["props", const("i0", np.array([0])), "i4", "axis1"], ["boxes_in"]),
        make("Mul", ["objectness", const("zero", np.array(0.0))], ["index"]),
        make("Concat", ["index", "boxes_in"], ["rois"], axis=1),
        make("RoiExtractor", ["p0", "p1", "rois"], ["crops"], name="roi", domain=domain,
             output_size=[7, 7], spatial_scales=[0.25, 0.125], finest_scale=10, sampling_ratio=0,
             aligned=1),
        make("Flatten", ["crops"], ["flat"], axis=1),
        make("Gemm", ["flat", weights("wc", 4, 392, spread=0.5), weights("bc", 4)], ["classes"],
             name="fc_cls", transB=1),
        make("Softmax", ["classes"], ["soft"], axis=1),
        make("Slice", ["soft", "i0", const("i3", np.array([3])), "axis1"], ["fg"]),
        make("MultiClassNMS", ["boxes_in", "fg"], ["boxes", "labels"], name="nms", domain=domain,
             score_threshold=0.05, iou_threshold=0.5, max_detections=max_detections),
    ]  # fmt: skip
    shapes = {"input": (1, 3, 64, 64)}
    model = model_of(nodes, shapes, {"boxes": FLOAT, "labels": INT64}, constants)
    del model.graph.output[:]
    model.graph.output.extend(
        [
            helper.make_tensor_value_info("boxes", FLOAT, ["n", 5]),
            helper.make_tensor_value_info("labels", INT64, ["n"]),
        ]
    )
    return model


def picture_for(model: onnx.ModelProto, seed: int = 1) -> dict[str, np.ndarray]:
    """A random input of the model."""
    value = model.graph.input[0]
    shape = [side.dim_value for side in value.type.tensor_type.shape.dim]
    return {value.name: np.random.default_rng(seed).normal(size=shape).astype("f4")}
