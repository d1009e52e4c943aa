"""Files that are not neutral graphs are refused, naming what is wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.graph.neutral import DOMAIN, load_neutral
from onnx import helper

from tests.helpers.graph_models import FLOAT, model_of
from tests.helpers.lowering import lower


def dcn(**changes: object) -> onnx.NodeProto:
    attributes = {"strides": [1, 1], "pads": [1, 1, 1, 1], "dilations": [1, 1], **changes}
    return helper.make_node(
        "DeformConv", ["x", "weight", "offset"], ["y"], name="layer2.0.conv2", domain=DOMAIN,
        **attributes,
    )  # fmt: skip


def saved(folder: Path, *nodes: onnx.NodeProto, imports: dict[str, int] | None = None) -> Path:
    model = model_of(
        list(nodes),
        {"x": (1, 3, 6, 6), "offset": (1, 18, 6, 6)},
        {"y": FLOAT},
        {"weight": np.zeros((2, 3, 3, 3), "f4")},
    )
    sides = [None] * 4
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", FLOAT, sides))
    if imports is not None:
        del model.opset_import[:]
        model.opset_import.extend(helper.make_opsetid(*entry) for entry in imports.items())
    path = folder / "neutral.onnx"
    onnx.save(model, str(path))
    return path


def test_a_neutral_graph_is_read(tmp_path: Path) -> None:
    assert load_neutral(saved(tmp_path, dcn())).graph.node[0].domain == DOMAIN


def test_shape_inference_runs_through_the_neutral_operators(tmp_path: Path) -> None:
    model = onnx.shape_inference.infer_shapes(load_neutral(saved(tmp_path, dcn())))
    shape = model.graph.output[0].type.tensor_type.shape
    assert [side.dim_value for side in shape.dim] == [1, 2, 6, 6]


@pytest.mark.parametrize(
    "imports",
    [{"": 11}, {"": 12, DOMAIN: 1}, {"": 11, DOMAIN: 2}, {"": 11, DOMAIN: 1, "mmcv": 1}],
)
def test_other_opset_imports_are_refused(tmp_path: Path, imports: dict[str, int]) -> None:
    with pytest.raises(CascadeportError, match=r"imports ai.onnx 11 and cascadeport 1"):
        load_neutral(saved(tmp_path, dcn(), imports=imports))


@pytest.mark.parametrize(
    ("domain", "kind"), [("mmcv", "DeformConv"), ("", "MMCVDeformConv2d"), (DOMAIN, "SoftNMS")]
)
def test_an_unsupported_operator_is_named_with_its_node(
    tmp_path: Path, domain: str, kind: str
) -> None:
    node = helper.make_node(kind, ["x"], ["y"], name="roi_head.nms", domain=domain)
    with pytest.raises(CascadeportError, match=kind) as caught:
        load_neutral(saved(tmp_path, node))
    assert "roi_head.nms" in caught.value.where


def test_a_missing_attribute_is_refused(tmp_path: Path) -> None:
    node = dcn()
    del node.attribute[0]
    with pytest.raises(CascadeportError, match="is not valid ONNX"):
        load_neutral(saved(tmp_path, node))


@pytest.mark.parametrize("content", [b"", b"no network at all", None])
def test_a_file_that_is_not_onnx(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "neutral.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CascadeportError):
        load_neutral(path)


def test_a_truncated_file(tmp_path: Path) -> None:
    path = saved(tmp_path, dcn())
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CascadeportError):
        load_neutral(path)


def test_groups_that_opset_11_cannot_express_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, dcn(groups=3))
    with pytest.raises(CascadeportError, match="groups") as caught:
        lower(path, tmp_path / "out.onnx", "onnxruntime-1.9")
    assert "layer2.0.conv2" in caught.value.where
    assert not (tmp_path / "out.onnx").exists()


def test_unknown_lowerings_and_input_types(tmp_path: Path) -> None:
    path = saved(tmp_path, dcn())
    with pytest.raises(CascadeportError, match="tensorrt"):
        lower(path, tmp_path / "out.onnx", "tensorrt")
    with pytest.raises(CascadeportError, match="float16"):
        lower(path, tmp_path / "out.onnx", "onnxruntime", input_dtype="float16")
    with pytest.raises(CascadeportError, match="mean and std"):
        lower(path, tmp_path / "out.onnx", "onnxruntime", input_dtype="uint8")
