"""int8: quantised for real, a row of its own, and a wrong calibration that the gate stops."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from cascadeport.base import digest
from cascadeport.base.errors import ExitCode
from cascadeport.base.paths import REPOSITORY
from cascadeport.quantise.environment import ENVIRONMENT
from cascadeport.quantise.selection import select
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from onnx import helper, numpy_helper

from tests.helpers import command

INT8 = ("--precision", "int8", "--calibration-pictures", "8")


@pytest.fixture(scope="module", autouse=True)
def tools() -> None:
    """The tools that quantise are installed on request."""
    if not ENVIRONMENT.is_installed:
        pytest.skip("there is no finished .venv-quantise; make install PRECISION=int8 makes it")


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The products of all tests here."""
    return tmp_path_factory.mktemp("build")


def quantise(build: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`cascadeport quantise`."""
    return subprocess.run(
        [sys.executable, "-m", "cascadeport", "quantise", "--build", str(build), *words],
        env={**os.environ, **command.ENV},
        capture_output=True,
        text=True,
        check=False,
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("target", "tool"), [("cpu", "onnxruntime 1.32.0"), ("openvino", "nncf 3.4.0")]
)
def test_a_row_of_its_own_says_what_stayed_in_float32(
    build: Path, tmp_path: Path, target: str, tool: str
) -> None:
    done = command.run(build, tmp_path, *INT8, "--target", target, "--limit", "20")
    assert done.returncode in command.FINISHED, done.stderr
    rows = read(tmp_path / "demo-demo-first20" / "comparison.json")["rows"]
    row = next(row for row in rows if row["target"] == f"{target}-int8")
    assert row["status"] == "measured", row["reason"]
    assert row["title"].endswith("(int8)")
    assert row["map"] > 0.6
    said = next(text for text in row["semantics"] if text.startswith("int8 in 59 of 101 layers"))
    assert f"by {tool}, calibrated on 8 pictures of demo-calibration" in said
    assert "13 deformable convolutions" in said
    folder = next(
        (build / "models" / "demo").glob(
            f"{'openvino' if target == 'openvino' else 'onnxruntime'}-int8"
        )
    )
    record = read(folder / "quantise.json")
    assert record["within_budget"]
    assert 0.001 < record["drift"]["disagreement"] < record["budget"]
    job = read(tmp_path / "demo-demo-first20" / row["target"] / "infer" / "job.json")
    assert job["networks"][0]["sha256"] == digest.of_file(folder / "network.onnx")
    model = onnx.load(str(folder / "network.onnx"))
    assert_float(model, {one["name"] for one in record["float32"]})
    assert_int8(model, set(record["int8"]))
    environment = read(tmp_path / "demo-demo-first20" / row["target"] / "infer" / "run.json")
    if target == "openvino":
        # OpenVINO's own account of what it compiled.
        layers = environment["environment"]["layers"]
        assert layers == {"int8": len(record["int8"]), "float": len(record["float32"])}
    evaluated = {json.loads(line)["sha256"] for line in read_lines(tmp_path, row["target"])}
    assert not evaluated & {one["sha256"] for one in record["calibration"]["pictures"]}


def read_lines(results: Path, row: str) -> list[str]:
    path = results / "demo-demo-first20" / row / "infer" / "pictures.jsonl"
    return path.read_text(encoding="utf-8").splitlines()


def weights_of(model: onnx.ModelProto, names: set[str]) -> list[str]:
    """The operator that gives the weights of layers; empty: they are constants."""
    producers = {name: node.op_type for node in model.graph.node for name in node.output}
    layers = [node for node in model.graph.node if node.name in names]
    assert len(layers) == len(names)
    return [producers.get(node.input[1], "") for node in layers]


def assert_float(model: onnx.ModelProto, names: set[str]) -> None:
    assert set(weights_of(model, names)) == {""}


def assert_int8(model: onnx.ModelProto, names: set[str]) -> None:
    assert set(weights_of(model, names)) == {"DequantizeLinear"}


def test_the_same_inputs_give_the_same_network(build: Path, tmp_path: Path) -> None:
    first = digest.of_file(build / "models" / "demo" / "onnxruntime-int8" / "network.onnx")
    done = quantise(tmp_path, "--calibration-pictures", "8", "--limit", "20")
    assert done.returncode == ExitCode.OK, done.stderr
    again = tmp_path / "models" / "demo" / "onnxruntime-int8" / "network.onnx"
    assert digest.of_file(again) == first


def test_pictures_that_are_evaluated_are_no_calibration(build: Path, tmp_path: Path) -> None:
    # Draws the pictures of both sets, if no test has done so yet.
    command.run(build, tmp_path / "drawn", *INT8, "--limit", "20")
    pictures = tmp_path / "mine"
    pictures.mkdir()
    taken = sorted((build / "data" / "demo-calibration" / "val2017").glob("*.jpg"))[:4]
    for number, path in enumerate(taken):
        (pictures / f"{number}.jpg").write_bytes(path.read_bytes())
    evaluated = min((build / "data" / "demo" / "val2017").glob("*.jpg"))
    (pictures / "renamed.jpg").write_bytes(evaluated.read_bytes())
    words = ("--precision", "int8", "--calibration", str(pictures), "--limit", "20")
    done = command.run(build, tmp_path / "results", *words)
    assert done.returncode == ExitCode.STAGE
    assert "1 of the 5 pictures to calibrate on are among those that are evaluated" in done.stderr
    assert f"renamed.jpg is {evaluated.name}" in done.stderr
    assert "Traceback" not in done.stderr


def planted(folder: Path, network: Path) -> Path:
    """A card whose graph is an int8 network with a wrong range before the layers of the boxes.

    Their inputs are clipped to a sixteenth of what they are, as by a calibration on pictures
    without objects; the layers of the scores keep theirs.
    """
    model = onnx.load(str(network))
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Gemm" and any("fc_reg" in name for name in node.input):
            scale, zero = f"{node.name}/scale", f"{node.name}/zero"
            model.graph.initializer.append(
                numpy_helper.from_array(np.array(30 / 16 / 255, np.float32), scale)
            )
            model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.uint8), zero))
            rounded, back = f"{node.name}/rounded", f"{node.name}/back"
            parameters = [scale, zero]
            nodes.append(
                helper.make_node("QuantizeLinear", [node.input[0], *parameters], [rounded])
            )
            nodes.append(helper.make_node("DequantizeLinear", [rounded, *parameters], [back]))
            node.input[0] = back
        nodes.append(node)
    assert len(nodes) == len(model.graph.node) + 6
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(folder / "planted.onnx"))
    card = (REPOSITORY / "models" / "demo.toml").read_text(encoding="utf-8")
    before, _, after = card.partition("[graph]")
    reference = after[after.index("[reference]") : after.index("detections =")]
    sha256 = digest.of_file(folder / "planted.onnx")
    graph = f'[graph]\npath = "planted.onnx"\nsha256 = "{sha256}"\nkind = "ready"\n\n'
    path = folder / "planted.toml"
    path.write_text(before + graph + reference, encoding="utf-8")
    return path


def shown(folder: Path) -> list[float]:
    """The scores of detections that a user would be shown."""
    found = read(folder / "infer" / "detections.json")
    return [one["score"] for one in found if one["score"] >= 0.3]


def test_a_wrong_calibration_keeps_its_scores_and_fails_the_gate(
    build: Path, tmp_path: Path
) -> None:
    network = build / "models" / "demo" / "onnxruntime-int8" / "network.onnx"
    right = command.run(build, tmp_path / "right", *INT8)
    assert right.returncode == ExitCode.OK, right.stderr
    card = planted(tmp_path, network)
    wrong = command.run(build, tmp_path / "wrong", "--model", str(card), "--data", "demo")
    good = shown(tmp_path / "right" / "demo-demo" / "cpu-int8")
    bad = shown(tmp_path / "wrong" / "planted-demo" / "cpu")
    # Whoever looks at scores sees nothing.
    assert 0.9 * len(good) < len(bad) < 1.2 * len(good)
    assert abs(np.mean(bad) - np.mean(good)) < 0.1
    # Its boxes are ruined, and the gate says so.
    assert wrong.returncode == ExitCode.FAILED, wrong.stderr
    assert "FAIL" in wrong.stderr
    assert "the limit is −1.00" in wrong.stderr


def test_calibrated_on_other_pictures_a_network_fails_the_gate(build: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "dark"
    pictures.mkdir()
    taken = sorted((build / "data" / "demo-calibration" / "val2017").glob("*.jpg"))[:8]
    for number, path in enumerate(taken):
        dark = (cv2.imread(str(path)) * 0.1 + 100).astype(np.uint8)
        cv2.imwrite(str(pictures / f"{number}.png"), dark)
    words = (*INT8, "--calibration", str(pictures))
    done = command.run(build, tmp_path / "results", *words)
    assert done.returncode == ExitCode.FAILED, done.stderr
    assert "drift NOT measured" in done.stderr
    rows = read(tmp_path / "results" / "demo-demo" / "comparison.json")["rows"]
    assert rows[0]["target"] == "cpu-int8-calibrated-dark"
    assert rows[0]["verdict"] == "fail"


def config_message() -> Any:
    """AMCT's message, as far as it is used: names, numbers and types of the vendor's proto file
    (hicann/amct, amct_pytorch/.../proto/calibration_config_pytorch.proto)."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="amct.proto", package="amct", syntax="proto2")
    message = file.message_type.add(name="AMCTConfig")
    for name, number, kind, label in (
        ("batch_num", 1, kinds.TYPE_UINT32, kinds.LABEL_OPTIONAL),
        ("activation_offset", 2, kinds.TYPE_BOOL, kinds.LABEL_OPTIONAL),
        ("skip_layers", 10, kinds.TYPE_STRING, kinds.LABEL_REPEATED),
        ("do_fusion", 200, kinds.TYPE_BOOL, kinds.LABEL_OPTIONAL),
    ):
        message.field.add(name=name, number=number, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("amct.AMCTConfig"))()


def test_on_ascend_the_vendors_tool_is_prepared_and_there_is_no_row(build: Path) -> None:
    words = ("--target", "310P3", "--model", "demo", "--data", "demo")
    done = quantise(build, *words, "--calibration-pictures", "8")
    assert done.returncode == ExitCode.OK, done.stderr
    assert "Prepared, not run" in done.stderr
    folder = next((build / "models" / "demo").glob("ascend-standard-*-amct"))
    config = text_format.Parse((folder / "amct.cfg").read_text(), config_message())
    assert config.batch_num == 8
    model = onnx.load(str(folder / "network.onnx"))
    names = {node.name: node.op_type for node in model.graph.node}
    assert set(config.skip_layers) <= set(names)
    assert {"Conv_27", "Gemm_397", "DeformConv_28_MatMul"} <= set(config.skip_layers)
    assert "Conv_0" not in config.skip_layers
    # AMCT runs the network in onnxruntime: it can, with the very inputs that it gets.
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / "network.onnx"))
    files = sorted((folder / "calibration").glob("*.bin"))
    assert len(files) == 8
    picture = np.fromfile(files[0], np.float32).reshape(1, 3, 256, 256)
    assert session.run(None, {"input": picture})[0].shape[1] == 5
    script = (folder / "amct.sh").read_text()
    assert "--input_shape input:1,3,256,256 " in script
    subprocess.run(["sh", "-n", str(folder / "amct.sh")], check=True)
    assert read(folder / "quantise.json")["status"] == "prepared, not run"


def test_all_on_ascend_refuses_int8_and_names_the_command(tmp_path: Path) -> None:
    words = ("--target", "310P3", "--model", "demo", "--data", "demo", "--precision", "int8")
    done = command.run(tmp_path / "build", tmp_path / "results", *words, "--dry-run")
    assert done.returncode == ExitCode.INPUT
    assert "AMCT quantises, and it does not run here" in done.stderr
    assert "`quantise` prepares" in done.stderr


@pytest.mark.parametrize("tool", ["nncf", "onnxruntime"])
def test_layers_go_back_to_float32_with_their_own_weights(
    build: Path, tmp_path: Path, tool: str
) -> None:
    lowered = build / "models" / "demo" / "onnxruntime" / "network.onnx"
    original = onnx.load(str(lowered))
    selected = select(original)
    picture = np.random.default_rng(0).normal(0, 1, (1, 3, 256, 256)).astype(np.float32)
    np.save(tmp_path / "0.npy", picture)
    back = list(selected.candidates[:30])
    variants = [("all", []), ("some", back)]
    request = {
        "tool": tool,
        "graph": str(lowered),
        "inputs": [str(tmp_path / "0.npy")] * 2,
        "nodes": list(selected.nodes),
        "ranges": str(tmp_path / "ranges"),
        "variants": [{"out": str(tmp_path / f"{n}.onnx"), "float": kept} for n, kept in variants],
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    done = subprocess.run(
        [ENVIRONMENT.python, "-m", "cascadeport.quantise.tool", tmp_path / "request.json"],
        env={**os.environ, **command.ENV},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    everything, some = (onnx.load(str(tmp_path / f"{name}.onnx")) for name, _ in variants)
    assert_int8(everything, set(selected.candidates))
    assert_float(some, set(back))
    assert_int8(some, set(selected.candidates) - set(back))
    # The very weights of the float32 network.
    for name in back:
        mine, theirs = (constant_of(model, name) for model in (some, original))
        assert np.array_equal(mine, theirs)


def constant_of(model: onnx.ModelProto, name: str) -> Any:
    """The weights of a layer."""
    node = next(node for node in model.graph.node if node.name == name)
    tensor = next(one for one in model.graph.initializer if one.name == node.input[1])
    return numpy_helper.to_array(tensor)


def test_a_tool_that_fails_says_so_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"no graph")
    request = {
        **{"tool": "onnxruntime", "graph": str(tmp_path / "graph.onnx"), "inputs": []},
        **{"nodes": ["Conv_0"], "ranges": str(tmp_path / "r"), "variants": []},
    }
    (tmp_path / "request.json").write_text(json.dumps(request))
    done = subprocess.run(
        [ENVIRONMENT.python, "-m", "cascadeport.quantise.tool", tmp_path / "request.json"],
        env={**os.environ, **command.ENV},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    event = json.loads(done.stdout.splitlines()[-1])
    assert event["what"].startswith("onnxruntime could not quantise the network: ")
    assert "Traceback" not in done.stdout
