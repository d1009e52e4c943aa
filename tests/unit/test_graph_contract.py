"""The contract: conforming networks pass; otherwise all violations are reported at once."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.graph import check_contract
from onnx import helper

FLOAT, UINT8, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8, onnx.TensorProto.INT64


def saved(
    folder: Path,
    *,
    inputs: list[tuple[str, int, list]] | None = None,
    boxes: tuple[str, int, list] = ("boxes", FLOAT, [100, 5]),
    labels: tuple[str, int, list] = ("labels", INT64, [100]),
    imports: list[tuple[str, int]] | None = None,
    domain: str = "",
) -> Path:
    inputs = inputs or [("input", FLOAT, [1, 3, 416, 416])]
    nodes = [
        helper.make_node("Detect", [inputs[0][0]], [boxes[0], labels[0]], name="head", domain="x")
        if domain
        else helper.make_node("Constant", [], [boxes[0]], value_float=0.0),
    ]
    if not domain:
        nodes.append(helper.make_node("Constant", [], [labels[0]], value_int=0))
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in (boxes, labels)],
    )
    opsets = [helper.make_opsetid(*entry) for entry in imports or [("", 13)]]
    path = folder / "network.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets), str(path))
    return path


def violations(path: Path, **options: object) -> str:
    with pytest.raises(CascadeportError) as caught:
        check_contract(path, **options)
    assert caught.value.where == str(path)
    return "\n".join(caught.value.details)


def test_float32_input(tmp_path: Path) -> None:
    found = check_contract(saved(tmp_path), dtype="float32", size=416)
    assert (found.dtype, found.height, found.width) == ("float32", 416, 416)
    assert (found.detections, found.opset) == (100, 13)


def test_uint8_input_and_free_lengths(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        inputs=[("pixels", UINT8, [1, 800, 1344, 3])],
        boxes=("b", FLOAT, [None, 5]),
        labels=("l", onnx.TensorProto.INT32, [None]),
    )
    found = check_contract(path, input="pixels", boxes="b", labels="l", size=(800, 1344))
    assert (found.dtype, found.height, found.width) == ("uint8", 800, 1344)
    assert found.detections is None


def test_the_same_import_twice_is_harmless(tmp_path: Path) -> None:
    assert check_contract(saved(tmp_path, imports=[("", 13), ("", 13)])).opset == 13


@pytest.mark.parametrize("imports", [[("", 11), ("", 13)], [("ai.onnx", 11), ("", 13)]])
def test_two_opset_imports(tmp_path: Path, imports: list[tuple[str, int]]) -> None:
    assert "one opset of ai.onnx; it imports: 11, 13" in violations(
        saved(tmp_path, imports=imports)
    )


def test_a_non_standard_domain_is_named_with_its_node(tmp_path: Path) -> None:
    text = violations(saved(tmp_path, domain="x", imports=[("", 13), ("x", 1)]))
    assert "non-standard domain x 1" in text
    assert "node head is x::Detect" in text


def test_all_violations_are_reported_at_once(tmp_path: Path) -> None:
    text = violations(
        saved(
            tmp_path,
            inputs=[("input", FLOAT, [None, 3, 416, 416])],
            boxes=("boxes", INT64, [100, 4]),
            labels=("labels", FLOAT, [100]),
        )
    )
    assert "input 'input' is float (?,3,416,416)" in text
    assert "output 'boxes' is int64 [100, 4]" in text
    assert "output 'labels' is float" in text


@pytest.mark.parametrize(
    ("name", "kind", "shape", "violation"),
    [
        ("image", FLOAT, [1, 3, 8, 8], "one input, 'input'; it has 'image'"),
        ("input", onnx.TensorProto.FLOAT16, [1, 3, 8, 8], "it must be float32 or uint8"),
        ("input", FLOAT, [2, 3, 8, 8], "must be a fixed (1,3,H,W)"),
        ("input", FLOAT, [1, 8, 8, 3], "must be a fixed (1,3,H,W)"),
        ("input", UINT8, [1, 3, 8, 8], "must be a fixed (1,H,W,3)"),
    ],
)
def test_inputs(tmp_path: Path, name: str, kind: int, shape: list[int], violation: str) -> None:
    assert violation in violations(saved(tmp_path, inputs=[(name, kind, shape)]))


def test_a_second_input_and_missing_outputs(tmp_path: Path) -> None:
    path = saved(tmp_path, inputs=[("input", FLOAT, [1, 3, 8, 8]), ("scale", FLOAT, [1])])
    text = violations(path, boxes="dets", labels="classes")
    assert "it has 'input', 'scale'" in text
    assert "output 'dets' is missing; it has 'boxes', 'labels'" in text
    assert "output 'classes' is missing" in text


def test_another_size_or_type_than_the_card_says(tmp_path: Path) -> None:
    text = violations(saved(tmp_path), dtype="uint8", size=1216)
    assert "is float32; uint8 was requested" in text
    assert "416 x 416 (height x width); 1216 x 1216 was requested" in text


def test_the_detector_beside_the_checkout(shared: Path) -> None:
    found = check_contract(shared / "detector" / "nanodet_m.onnx", size=416)
    assert found.detections == 100
