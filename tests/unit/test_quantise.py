"""What may be int8, what stays in float32 and by which measurement. The tools: test_int8.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from cascadeport import backends
from cascadeport.base import locks
from cascadeport.base.errors import CascadeportError
from cascadeport.config import cards, frames, targets
from cascadeport.config.options import Options
from cascadeport.graph.matching import Detections
from cascadeport.pipeline import job as jobs
from cascadeport.quantise import calibration, search, selection
from cascadeport.quantise.drift import Drift, measure
from cascadeport.quantise.environment import ENVIRONMENT
from cascadeport.quantise.tool.restoring import fold_casts, restored
from onnx import TensorProto, helper, numpy_helper

from tests.helpers import command, small_world


@pytest.fixture(scope="module")
def demo(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    """The demo, lowered."""
    out = tmp_path_factory.mktemp("demo") / "demo.onnx"
    backends.lowering("onnxruntime").lower(repository / "models" / "demo" / "demo.onnx", out)
    return onnx.load(str(out))


def test_offsets_outputs_of_heads_and_deformable_convolutions_stay(demo: onnx.ModelProto) -> None:
    selected = selection.select(demo)
    weights = {node.name: node.input[1] for node in demo.graph.node if len(node.input) > 1}
    by_reason: dict[str, set[str]] = {}
    for layer in selected.layers:
        by_reason.setdefault(layer.kept, set()).add(weights[layer.name])
    # The exporter keeps the names of parameters that no batch norm is folded into.
    assert all("conv_offset" in name for name in by_reason[selection.OFFSETS])
    assert len(by_reason[selection.OFFSETS]) == len(by_reason[selection.DEFORMABLE]) == 13
    heads = ("rpn_cls", "rpn_reg", "fc_cls", "fc_reg")
    assert all(any(head in name for head in heads) for name in by_reason[selection.OUTPUT])
    assert len(by_reason[selection.OUTPUT]) == 2 + 3 * 2  # the RPN's are shared by five levels
    assert not any(head in name for name in by_reason[""] for head in (*heads, "conv_offset"))
    assert len(selected.candidates) == 59


def test_nothing_but_features_is_int8_between_layers(demo: onnx.ModelProto) -> None:
    selected = selection.select(demo)
    kinds = {node.name: node.op_type for node in demo.graph.node}
    assert {kinds[name] for name in selected.passing} == {"Relu", "Add", "MaxPool", "Resize"}
    ahead = {name for name in selected.passing if kinds[name] == "Add"}
    # 13 + 3 residual blocks, and the three sums of the pyramid; none of the boxes' arithmetic.
    assert len(ahead) == 16 + 3


def boxes(*rows: Sequence[float], labels: Sequence[int] = ()) -> Detections:
    array = np.array(rows, np.float32).reshape(-1, 5)
    return array, np.array(labels or [0] * len(array), np.int64)


def test_drift_is_one_minus_overlap_times_closeness_of_scores() -> None:
    first = boxes([0, 0, 10, 10, 0.9], [50, 50, 60, 60, 0.8])
    second = boxes([0, 0, 10, 8, 0.8], [50, 50, 60, 60, 0.8])
    found = measure([first], [second])
    assert found.disagreement == pytest.approx((1 - 0.8 * 0.9 + 0) / 2)
    assert (found.missing, found.extra, found.detections) == (0, 0, 2)
    assert not found.is_measured
    assert "NOT measured" in found.text


def test_what_only_one_network_finds_counts_in_full() -> None:
    first = boxes([0, 0, 10, 10, 0.9], [50, 50, 60, 60, 0.8], [0, 0, 0, 0, 0.0])
    second = boxes([0, 0, 10, 10, 0.9], [100, 100, 120, 120, 0.7], [20, 20, 30, 30, 0.1])
    found = measure([first], [second])
    assert (found.missing, found.extra) == (1, 1)
    assert found.disagreement == pytest.approx(2 / 3)
    # The same box as another class is another detection.
    other = measure([boxes([0, 0, 10, 10, 0.9])], [boxes([0, 0, 10, 10, 0.9], labels=[3])])
    assert other.disagreement == 1.0


def test_no_detection_at_all_is_no_drift_of_zero() -> None:
    found = measure([boxes()], [boxes()])
    assert not found.is_measured


LAYERS = [f"layer{number}" for number in range(16)]


class Costs:
    """Measures networks whose drift is the sum of what each int8 layer costs."""

    def __init__(self, costs: dict[str, float], detections: int = 100) -> None:
        self.costs, self.detections, self.asked = costs, detections, 0

    def __call__(self, kept: Sequence[Sequence[str]]) -> list[Drift]:
        self.asked += len(kept)
        return [self._drift(names) for names in kept]

    def _drift(self, kept: Sequence[str]) -> Drift:
        total = sum(cost for name, cost in self.costs.items() if name not in kept)
        return Drift(total, 8, self.detections, 0, 0, 0, 0, 0, 0)


def test_within_the_budget_nothing_else_is_tried() -> None:
    costs = Costs({"layer3": 0.01})
    found = search.search(LAYERS, costs)
    assert (found.met, found.chosen.kept, costs.asked) == (True, (), 1)


def test_the_costliest_group_goes_back_to_float32_and_no_other() -> None:
    costs = Costs({"layer0": 0.01, "layer6": 0.2, "layer12": 0.02})
    found = search.search(LAYERS, costs)
    assert found.met
    assert found.chosen.kept == ("layer6", "layer7")
    assert found.gains["layer6"] == pytest.approx(0.2)
    assert costs.asked == 1 + search.GROUPS


def test_groups_go_back_together_until_the_budget_is_met() -> None:
    costs = Costs({"layer0": 0.06, "layer6": 0.2, "layer12": 0.03})
    found = search.search(LAYERS, costs)
    assert found.met
    assert found.chosen.kept == ("layer0", "layer1", "layer6", "layer7")


def test_where_no_choice_helps_it_says_so_and_most_layers_stay_int8() -> None:
    found = search.search(LAYERS, Costs(dict.fromkeys(LAYERS, 0.1)))
    assert not found.met
    assert len(found.chosen.kept) <= (1 - search.LEAST) * len(LAYERS)
    assert found.chosen.drift.disagreement == min(one.drift.disagreement for one in found.tried)


def test_without_detections_nothing_is_decided() -> None:
    costs = Costs(dict.fromkeys(LAYERS, 0.1), detections=2)
    found = search.search(LAYERS, costs)
    assert not found.met
    assert costs.asked == 1


def test_a_network_without_layers_cannot_be_int8() -> None:
    with pytest.raises(CascadeportError, match="no layer that can compute in int8"):
        search.search([], Costs({}))


def pictures(folder: Path, count: int) -> Path:
    for number in range(count):
        (folder / f"{number:03}.jpg").write_bytes(b"picture %d" % number)
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_pictures_are_spread_over_the_folder(tmp_path: Path) -> None:
    names = [one.name for one in calibration.choose(pictures(tmp_path, 100), 10)]
    assert names == [f"{number:03}.jpg" for number in range(0, 100, 10)]
    assert len(calibration.choose(tmp_path, 1000)) == 100


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="The folder has 3 pictures"):
        calibration.choose(pictures(tmp_path, 3), 32)


def test_evaluated_pictures_are_refused_by_their_content(tmp_path: Path) -> None:
    chosen = calibration.choose(pictures(tmp_path, 8), 8)
    calibration.refuse_evaluated(chosen, {"0" * 64: "other.jpg"}, tmp_path)
    with pytest.raises(CascadeportError) as caught:
        calibration.refuse_evaluated(chosen, {chosen[5].sha256: "b.jpg"}, tmp_path)
    assert caught.value.details == ["005.jpg is b.jpg"]


@pytest.mark.parametrize(
    ("frame", "wanted"),
    [
        ({}, {(256, 256)}),
        ({"shapes": "own", "resize": "333x200"}, {(224, 288), (288, 224)}),
        ({"shapes": "224x352,352x224", "resize": "333x200"}, {(224, 352), (352, 224)}),
    ],
)
def test_pictures_are_prepared_as_the_pass_prepares_them(
    tmp_path: Path, frame: dict[str, str], wanted: set[tuple[int, int]]
) -> None:
    for name, shape in (("wide", (60, 80, 3)), ("tall", (80, 60, 3))):
        colours = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        cv2.imwrite(str(tmp_path / f"{name}.png"), colours)
    chosen = [
        calibration.CalibrationPicture(path, path.name, "") for path in sorted(tmp_path.iterdir())
    ]
    options = Options(**frame)
    card = frames.framed(cards.load(cards.find("demo", options.models)), options, lambda: [])
    target = targets.load(options.targets, backends.row)["cpu"]
    settings = jobs.settings(card, backends.of(target), options, 1)
    out = tmp_path / "inputs"
    out.mkdir()
    paths = calibration.prepare(chosen, settings, out, lambda *_: None)
    arrays = [np.load(path) for path in paths]
    assert {array.shape[2:] for array in arrays} == wanted
    assert all(array.dtype == np.float32 and array.std() > 0.1 for array in arrays)


def two_layers() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """A network of two products, and the same with the weights and inputs of both quantised."""
    weights = [
        numpy_helper.from_array(np.eye(2, dtype=np.float32) * factor, name)
        for name, factor in (("w1", 1.5), ("w2", 2.5))
    ]
    nodes = [
        helper.make_node("MatMul", ["input", "w1"], ["between"], "first"),
        helper.make_node("MatMul", ["between", "w2"], ["output"], "second"),
    ]
    values = [helper.make_tensor_value_info(n, 1, [1, 2]) for n in ("input", "output")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], weights)
    opsets = [helper.make_opsetid("", 19)]
    original = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    scale = numpy_helper.from_array(np.array(1.0, np.float32), "one")
    zero = numpy_helper.from_array(np.array(0, np.int8), "nought")
    coarse = []
    for node in nodes:
        for index, name in enumerate(node.input):
            stem = f"{node.name}/{index}"
            rounds = [f"{stem}/q", f"{stem}/dq"]
            parameters = ["one", "nought"]
            coarse.append(helper.make_node("QuantizeLinear", [name, *parameters], rounds[:1]))
            coarse.append(
                helper.make_node("DequantizeLinear", [rounds[0], *parameters], rounds[1:])
            )
        again = onnx.NodeProto()
        again.CopyFrom(node)
        del again.input[:]
        again.input.extend([f"{node.name}/0/dq", f"{node.name}/1/dq"])
        coarse.append(again)
    graph = helper.make_graph(coarse, "g", values[:1], values[1:], [*weights, scale, zero])
    return original, helper.make_model(graph, opset_imports=opsets, ir_version=9)


def run(model: onnx.ModelProto) -> list[float]:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    picture = np.array([[10.4, 3.0]], np.float32)
    return [float(value) for value in session.run(None, {"input": picture})[0][0]]


def test_a_restored_layer_computes_in_float32_and_the_others_do_not() -> None:
    original, quantised = two_layers()
    assert run(original) == pytest.approx([10.4 * 1.5 * 2.5, 3 * 1.5 * 2.5])
    assert run(quantised) == [10 * 2 * 2, 3 * 2 * 2]
    assert run(restored(quantised, original, [])) == run(quantised)
    # Its input is what the other gives before it is rounded again, its weights are its own.
    assert run(restored(quantised, original, ["second"])) == [10 * 2 * 2.5, 3 * 2 * 2.5]
    # 10.4 x 1.5 is 15.6, and the other layer's input is rounded.
    assert run(restored(quantised, original, ["first"])) == [16 * 2, 4 * 2]
    assert run(restored(quantised, original, ["first", "second"])) == run(original)


def test_casts_of_constants_become_constants(demo: onnx.ModelProto) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["two"], ["2.0"], "cast", to=TensorProto.FLOAT),
            helper.make_node("Mul", ["input", "2.0"], ["output"], "mul"),
        ],
        "g",
        [helper.make_tensor_value_info("input", 1, [1, 2])],
        [helper.make_tensor_value_info("output", 1, [1, 2])],
        [numpy_helper.from_array(np.array(2, np.int64), "two")],
    )
    opsets = [helper.make_opsetid("", 19)]
    model = fold_casts(helper.make_model(graph, opset_imports=opsets, ir_version=9))
    assert [node.op_type for node in model.graph.node] == ["Mul"]
    assert run(model) == pytest.approx([20.8, 6.0])


def test_the_tools_run_on_the_versions_that_the_networks_run_on(repository: Path) -> None:
    own = ENVIRONMENT.pinned
    runtime = locks.pinned(repository / "requirements.lock")
    openvino = locks.pinned(repository / "images" / "openvino" / "requirements.lock")
    assert own["openvino"] == openvino["openvino"]
    for package in ("onnx", "onnxruntime", "opencv-python-headless"):
        assert own[package] == runtime[package]
    assert "torch" not in own
    assert "openvino-telemetry" not in own


@pytest.mark.parametrize(
    ("target", "changes", "lowering", "told"),
    [
        ("T4", {}, "onnxruntime", "CUDA provider has no convolutions in int8"),
        ("cpu", {}, "onnxruntime-1.9", "one range for all channels"),
        ("310P3", {}, "ascend", "AMCT quantises, and it does not run here"),
        ("openvino", {"device": "GPU"}, "openvino", "this target's device is GPU"),
    ],
)
def test_targets_without_int8_say_why(
    target: str, changes: dict[str, str], lowering: str, told: str
) -> None:
    row = targets.load(Options().targets, backends.row)[target].model_copy(update=changes)
    with pytest.raises(CascadeportError, match=told):
        backends.of(row).quantiser(lowering)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--calibration", "demo-calibration"), "Calibration pictures are for int8."),
        (("--precision", "int8", "--data", "DATA"), "Nothing says which pictures int8 is calib"),
        (
            ("--precision", "int8", "--calibration", "demo-calibratoin"),
            "perhaps you meant 'demo-calibration'",
        ),
        (("--precision", "int9"), "int8"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_starts(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    small_world.dataset(tmp_path / "data")
    words = tuple(str(tmp_path / "data") if word == "DATA" else word for word in words)
    done = command.run(tmp_path / "build", tmp_path / "results", *words)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
    assert not (tmp_path / "build").exists()


def test_a_plan_says_what_int8_is_made_of(tmp_path: Path) -> None:
    done = command.run(tmp_path, tmp_path, "--precision", "int8", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert (
        "quantise  quantise demo to int8 by onnxruntime, calibrated on demo-calibrat" in done.stdout
    )
    assert "cpu-int8" in done.stdout
    assert json.dumps("quantise") not in done.stderr
