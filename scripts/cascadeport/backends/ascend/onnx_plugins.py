"""What CANN's ONNX plug-ins read from a node; they ignore an attribute of another type.

From the source of CANN 5.1's plug-ins (docs/lowering.md names the files). It is used to check a
graph before `atc` parses it, and gives the reference executor the attributes that `atc` will use.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx
from onnx import AttributeProto, defs

from cascadeport.base.errors import CascadeportError

#: Opsets for which the plug-ins are registered.
OPSETS = range(9, 14)
#: Limits of the BatchMultiClassNonMaxSuppression kernel.
MAX_KEPT, MAX_CLASSES = 1000, 200
#: Standard operators of opset 11 that plug-ins are registered for: canndev as of 2022-06-30,
#: ops/built-in/framework/onnx_plugin (similar_opp_plugins.cc, and one file for each of the others).
PARSED = frozenset(
    {
        *("Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan"),
        *("Atanh", "AveragePool", "BatchNormalization", "BitShift", "Cast", "Ceil", "Celu", "Clip"),
        *("Compress", "Concat", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "Cosh"),
        *("CumSum", "DepthToSpace", "Det", "Div", "Dropout", "Einsum", "Elu", "Equal", "Erf"),
        *("Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND"),
        *("Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater", "GRU", "HardSigmoid"),
        *("Hardmax", "Identity", "If", "InstanceNormalization", "IsInf", "IsNaN", "LRN", "LSTM"),
        *("LeakyRelu", "Less", "Log", "LogSoftmax", "LpNormalization", "LpPool", "MatMul", "Max"),
        *("MaxPool", "MaxRoiPool", "Mean", "MeanVarianceNormalization", "Min", "Mod", "Mul"),
        *("Multinomial", "Neg", "NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "PRelu"),
        *("Pad", "Pow", "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum"),
        *("ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"),
        *("ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence", "RoiAlign", "Round"),
        *("ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin"),
        *("Sinh", "Size", "Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split"),
        *("Sqrt", "Squeeze", "Sub", "Sum", "Tan", "Tanh", "TfIdfVectorizer", "ThresholdedRelu"),
        *("Tile", "TopK", "Transpose", "Unsqueeze", "Upsample", "Where", "Xor"),
    }
)
#: Standard operators whose output shape depends on their input's content.
DYNAMIC = {"NonZero", "NonMaxSuppression", "Shape", "Loop", "If", "Scan", "Range", "Unique"}


@dataclass(frozen=True)
class DeformableConv2DAttributes:
    """The attributes as the plug-in sets them; strides and dilations are height, width."""

    strides: tuple[int, int]
    pads: tuple[int, int, int, int]  # top, bottom, left, right
    dilations: tuple[int, int]
    groups: int
    deformable_groups: int
    modulated: bool
    data_format: str


@dataclass(frozen=True)
class RoiExtractorAttributes:
    """The attributes as the plug-in sets them."""

    finest_scale: int
    roi_scale_factor: float
    spatial_scale: tuple[float, ...]
    pooled_height: int
    pooled_width: int
    sample_num: int
    pool_mode: str
    aligned: bool


@dataclass(frozen=True)
class BatchMultiClassNMSAttributes:
    """The attributes as the plug-in sets them."""

    score_threshold: float
    iou_threshold: float
    max_size_per_class: int
    max_total_size: int


@dataclass(frozen=True)
class RoiAlignAttributes:
    """The attributes of the standard operator as the plug-in sets them."""

    output_height: int
    output_width: int
    sampling_ratio: int
    spatial_scale: float


INT, INTS, STRING = AttributeProto.INT, AttributeProto.INTS, AttributeProto.STRING
FLOAT, FLOATS = AttributeProto.FLOAT, AttributeProto.FLOATS


def read_deformable_conv_2d(node: onnx.NodeProto) -> DeformableConv2DAttributes:
    """Strides, pads and dilations take one or two numbers; `groups` is required."""
    read = _AttributeReader(node)
    pads = read.pair("pads")
    return DeformableConv2DAttributes(
        strides=read.pair("strides"),
        pads=(pads[0], pads[1], pads[0], pads[1]),
        dilations=read.pair("dilations", (1, 1)),
        groups=read.integer("groups"),  # the plug-in's default is 0, which is not valid
        deformable_groups=read.integer("deformable_groups", 1),
        modulated=bool(read.integer("modulated", 1)),
        data_format=read.string("data_format", "NHWC"),
    )


def read_roi_extractor(node: onnx.NodeProto) -> RoiExtractorAttributes:
    """Every attribute has a default in the operator, so a wrong type goes unnoticed."""
    read = _AttributeReader(node)
    return RoiExtractorAttributes(
        finest_scale=read.integer("finest_scale", 56),
        roi_scale_factor=read.number("roi_scale_factor", 0.0),
        spatial_scale=read.numbers("spatial_scale", (1 / 4, 1 / 8, 1 / 16, 1 / 32)),
        pooled_height=read.integer("pooled_height", 7),
        pooled_width=read.integer("pooled_width", 7),
        sample_num=read.integer("sample_num", 0),
        pool_mode=read.string("pool_mode", "avg"),
        aligned=bool(read.integer("aligned", 1)),
    )


def read_batch_multi_class_nms(node: onnx.NodeProto) -> BatchMultiClassNMSAttributes:
    """All four attributes are required by the operator."""
    read = _AttributeReader(node)
    return BatchMultiClassNMSAttributes(
        score_threshold=read.number("score_threshold"),
        iou_threshold=read.number("iou_threshold"),
        max_size_per_class=read.integer("max_size_per_class"),
        max_total_size=read.integer("max_total_size"),
    )


def read_roi_align(node: onnx.NodeProto) -> RoiAlignAttributes:
    """The plug-in sets roi_end_mode to 0 below opset 16: RoIs are at least one cell wide and high.

    It reads spatial_scale and the sizes whatever their type, which an attribute of another type
    leaves at 0; here they must have the right one.
    """
    read = _AttributeReader(node)
    return RoiAlignAttributes(
        output_height=read.integer("output_height"),
        output_width=read.integer("output_width"),
        sampling_ratio=read.integer("sampling_ratio", 0),
        spatial_scale=read.number("spatial_scale"),
    )


def check(model: onnx.ModelProto) -> None:
    """Checks that `atc` accepts a graph and reads it as intended.

    Raises:
        CascadeportError: It does not; every problem is in `details`.
    """
    problems = []
    imports = [(entry.domain, entry.version) for entry in model.opset_import]
    if len(imports) != 1 or imports[0][0] not in ("", "ai.onnx") or imports[0][1] not in OPSETS:
        found = ", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in imports)
        problems.append(f"it must import one opset of ai.onnx, 9 to 13; it imports: {found}")
    opset = imports[0][1] if imports else 11
    for node in model.graph.node:
        try:
            problem = _problem(node, opset)
        except CascadeportError as error:
            problem = error.what
        if problem:
            problems.append(f"node {node.name or node.output[0]}: {problem}")
    for value in [*model.graph.input, *model.graph.output]:
        sides = value.type.tensor_type.shape.dim
        # Rows and columns of the input may be open: atc's gears give their sizes.
        fixed = sides[:2] if value in model.graph.input and len(sides) == 4 else sides
        if any(not side.dim_value for side in fixed):
            problems.append(f"{value.name} has a dimension that is not fixed")
    if problems:
        raise CascadeportError(
            "atc cannot convert this graph.",
            details=problems,
            next="Use this project's own export and lowering.",
        )


def _problem(node: onnx.NodeProto, opset: int) -> str:
    if node.domain not in ("", "ai.onnx"):
        return f"the domain {node.domain} has no parser"
    if node.op_type == "DeformableConv2D":
        conv = read_deformable_conv_2d(node)
        if conv.data_format != "NCHW" or not conv.modulated:
            return "only NCHW and modulated are supported"
    elif node.op_type == "RoiExtractor":
        roi = read_roi_extractor(node)
        if len(roi.spatial_scale) != len(node.input) - 1:
            return f"{len(node.input) - 1} features, {len(roi.spatial_scale)} scales"
        if roi.pooled_height != roi.pooled_width or roi.pool_mode != "avg":
            return "only square crops by average are supported"
    elif node.op_type == "BatchMultiClassNMS":
        nms = read_batch_multi_class_nms(node)
        if max(nms.max_size_per_class, nms.max_total_size) > MAX_KEPT:
            return f"the kernel keeps at most {MAX_KEPT} boxes"
    elif node.op_type in DYNAMIC:
        return f"the output shape of {node.op_type} depends on the picture"
    elif node.op_type == "RoiAlign":
        read_roi_align(node)
    elif node.op_type not in PARSED or not defs.has(node.op_type, max_inclusive_version=opset):
        return f"no parser knows {node.op_type} in opset {opset}"
    return ""


class _AttributeReader:
    """Reads attributes by name and type, as the plug-ins do."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.node = node
        self.given = {(found.name, found.type): found for found in node.attribute}

    def _missing(self, name: str, wanted: str) -> CascadeportError:
        kinds = [AttributeProto.AttributeType.Name(k) for n, k in self.given if n == name]
        found = f"{kinds[0]}, which is not read" if kinds else "absent"
        return CascadeportError(
            f"attribute {name} of {self.node.op_type} must be {wanted}; it is {found}",
            where=f"node {self.node.name}",
        )

    def integer(self, name: str, default: int | None = None) -> int:
        if (name, INT) in self.given:
            return int(self.given[name, INT].i)
        if default is None:
            raise self._missing(name, "INT")
        return default

    def number(self, name: str, default: float | None = None) -> float:
        if (name, FLOAT) in self.given:
            return float(self.given[name, FLOAT].f)
        if default is None:
            raise self._missing(name, "FLOAT")
        return default

    def numbers(self, name: str, default: tuple[float, ...]) -> tuple[float, ...]:
        if (name, FLOATS) in self.given:
            return tuple(self.given[name, FLOATS].floats)
        return default

    def string(self, name: str, default: str) -> str:
        if (name, STRING) in self.given:
            return str(self.given[name, STRING].s.decode())
        return default

    def pair(self, name: str, default: tuple[int, int] | None = None) -> tuple[int, int]:
        values = list(self.given[name, INTS].ints) if (name, INTS) in self.given else []
        if not values and default is not None:
            return default
        if len(values) not in (1, 2):
            raise self._missing(name, "one or two INTS")
        return values[0], values[-1]
