"""Conversion for Ascend: atc's command line, its errors, and the stand-in for atc."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from cascadeport import backends
from cascadeport.backends.ascend import convert, lowering, simulator
from cascadeport.backends.ascend.target import AscendTarget
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import cards, targets
from cascadeport.config.cards import Card
from cascadeport.config.options import Options
from cascadeport.graph.lowering import LoweringRequest
from onnx import helper

SOURCES = REPOSITORY / "images" / "simulator"
HEAD = "ATC run failed, Please check the detail log, Try 'atc --help' for more information\n"


@pytest.mark.parametrize(
    ("log", "what", "where"),
    [
        (
            HEAD + "E19010: No parser is registered for Op [grid_sampler_3140, optype "
            "[ai.onnx::11::grid_sampler]].",
            "does not support an operator of the graph",
            "grid_sampler_3140",
        ),
        (
            HEAD + "E10016: Opname [Concat_1427] specified in [--out_nodes] is not found in the "
            "model. Please check.",
            "output node in atc's arguments does not exist",
            "Concat_1427",
        ),
        (
            HEAD + "E10001: Value [Ascend] for parameter [--soc_version] is invalid. Reason: x",
            "does not accept one of its options",
            "--soc_version",
        ),
        (HEAD + "EZ3003: No supported Ops kernel and engine are found for [NMS]", "no kernel", ""),
        (
            "[ERROR] GE(1) E19999: Inner Error!\nE11017: Failed to find node [Reshape_1429]",
            "output node",
            "Reshape_1429",
        ),
        (HEAD + "E77777: something new", "atc failed", "E77777"),
    ],
)
def test_an_error_of_atc_has_a_cause_and_a_remedy(log: str, what: str, where: str) -> None:
    error = convert.explain(log)
    assert error is not None
    assert what in error.what
    assert where in error.where
    assert error.next


def test_a_log_without_a_code_explains_nothing() -> None:
    assert convert.explain("ATC start working now, please wait for a moment.\n") is None


@pytest.fixture
def atc(tmp_path: Path) -> Path:
    """The stand-in, as its installer lays it out."""
    home = tmp_path / "toolkit"
    (home / "atc" / "bin").mkdir(parents=True)
    shutil.copy(SOURCES / "atc", home / "atc" / "bin" / "atc")
    shutil.copytree(SOURCES / "cann_stand_in", home / "simulator" / "cann_stand_in")
    simulator.copy_own_modules(home / "simulator")
    return home / "atc" / "bin" / "atc"


def model(folder: Path, op_type: str = "Relu", domain: str = "", opset: int = 11) -> Path:
    """A graph of one node."""
    node = helper.make_node(op_type, ["input"], ["y"], name="node_1", domain=domain)
    shape = [1, 3, 8, 16]
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
    )
    imports = [helper.make_opsetid("", opset)]
    if domain:
        imports.append(helper.make_opsetid(domain, 1))
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=6), str(path))
    return path


def run(atc: Path, path: Path, *more: str, **changes: str) -> tuple[int, str]:
    flags = {
        "model": str(path),
        "framework": "5",
        "output": str(path.parent / "network"),
        "input_shape": "input:1,3,8,16",
        "out_nodes": "node_1:0",
        "soc_version": "Ascend310P3",
        **changes,
    }
    command = [sys.executable, str(atc), *(f"--{k}={v}" for k, v in flags.items()), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_stand_in_writes_an_om_file(atc: Path, tmp_path: Path) -> None:
    code, output = run(atc, model(tmp_path))
    assert code == 0, output
    assert "ATC run success" in output
    sys.path.insert(0, str(SOURCES))
    try:
        from cann_stand_in import om
    finally:
        sys.path.pop(0)
    facts, graph, aipp = om.read(tmp_path / "network.om")
    assert facts["simulated"] is True
    assert facts["soc_version"] == "Ascend310P3"
    assert facts["outputs"][0]["name"] == "node_1:0:y"
    assert aipp is None
    assert onnx.load_from_string(graph).graph.input[0].name == "input"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"soc_version": "Ascend310P9"}, "E10001"),
        ({"out_nodes": "node_1"}, "E10001"),
        ({"out_nodes": "node_2:0"}, "E10016"),
        ({"out_nodes": "node_1:1"}, "E11017"),
        ({"input_shape": "input;1,3,8,8"}, "E10002"),
        ({"input_shape": "inputs:1,3,8,8"}, "E10016"),
        ({"precision_mode": "fast"}, "E10001"),
        ({"model": "/nonexistent.onnx"}, "E10001"),
        ({"soc_version": ""}, "E10007"),
    ],
)
def test_the_stand_in_refuses_what_atc_refuses(
    atc: Path, tmp_path: Path, changes: dict[str, str], code: str
) -> None:
    returned, output = run(atc, model(tmp_path), **changes)
    assert returned != 0
    assert f"{code}: " in output
    assert convert.explain(output) is not None
    assert not (tmp_path / "network.om").exists()


@pytest.mark.parametrize(
    ("op_type", "domain", "opset", "kind"),
    [
        ("grid_sampler", "", 11, "ai.onnx::11::grid_sampler"),
        ("MMCVDeformConv2d", "mmdeploy", 11, "mmdeploy::1::MMCVDeformConv2d"),
        ("Relu", "", 17, "ai.onnx::17::Relu"),
    ],
)
def test_an_operator_without_a_parser(
    atc: Path, tmp_path: Path, op_type: str, domain: str, opset: int, kind: str
) -> None:
    code, output = run(atc, model(tmp_path, op_type, domain, opset))
    assert code != 0
    assert f"E19010: No parser is registered for Op [node_1, optype [{kind}]]." in output


def test_a_graph_that_cannot_be_compiled(atc: Path, tmp_path: Path) -> None:
    code, output = run(atc, model(tmp_path, "NonZero"))
    assert code != 0
    assert "E20001: Failed to compile Op. [" in output
    assert "the output shape of NonZero depends on the picture" in output


def test_a_truncated_graph(atc: Path, tmp_path: Path) -> None:
    path = model(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    code, output = run(atc, path)
    assert code != 0
    assert "E10041" in output


def test_an_unknown_option(atc: Path, tmp_path: Path) -> None:
    code, output = run(atc, model(tmp_path), "--dynamic")
    assert code == 1
    assert "unknown command line flag 'dynamic'" in output


def described(card: Card, folder: Path) -> lowering.AtcArguments:
    """The lowered demo's arguments for atc, by way of the JSON record."""
    assert card.graph is not None
    neutral = card.file(card.graph.all[0].path)
    request = LoweringRequest(dtype=card.input.dtype, mean=card.input.mean, std=card.input.std)
    done = lowering.Ascend().lower(neutral, folder / "lowered.onnx", request)
    return lowering.AtcArguments(**json.loads(json.dumps(done.record))["facts"]["atc"])


def test_the_command_line_comes_from_the_lowered_graph_and_the_row(tmp_path: Path) -> None:
    card = cards.load(cards.find("demo", Options().models))
    atc = described(card, tmp_path)
    flags = {"precision_mode": "force_fp16"}
    argv = convert.arguments(atc, "Ascend310P3", flags, "/m", "/out")
    assert argv[:4] == ("atc", "--model=/m", "--framework=5", "--output=/out/network")
    assert "--input_shape=input:1,3,256,256" in argv
    (nodes,) = (one for one in argv if one.startswith("--out_nodes="))
    outputs = {output.name for output in onnx.load(tmp_path / "lowered.onnx").graph.output}
    assert outputs == {"boxes", "labels"}
    assert nodes.count(";") == 1
    assert "--soc_version=Ascend310P3" in argv
    assert "--precision_mode=force_fp16" in argv
    assert not any("insert_op_conf" in one for one in argv)


def test_uint8_input_is_normalised_by_aipp(tmp_path: Path) -> None:
    card = cards.load(cards.find("demo", Options().models))
    card = card.model_copy(update={"input": card.input.model_copy(update={"dtype": "uint8"})})
    atc = described(card, tmp_path)
    argv = convert.arguments(atc, "Ascend310P3", {}, "/m", "/out")
    assert "--insert_op_conf=/out/aipp.cfg" in argv
    assert atc.aipp is not None
    assert "src_image_size_w: 256" in atc.aipp


def test_rows_come_before_columns_in_aipp() -> None:
    text = lowering.aipp(8, 16, [1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    assert "src_image_size_w: 16" in text
    assert "src_image_size_h: 8" in text


def test_a_row_passes_its_flags_to_atc() -> None:
    rows = targets.load(Options().targets, backends.row)
    row = rows["310P3"].model_copy(update={"precision_mode": "allow_mix_precision"})
    assert isinstance(row, AscendTarget)
    assert row.atc_flags == {"precision_mode": "allow_mix_precision"}
