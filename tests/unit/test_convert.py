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
from cascadeport.backends.ascend import atc_graph, convert, personalities, stand_in_files
from cascadeport.backends.ascend.lowering import Ascend
from cascadeport.backends.ascend.standard_lowering import AscendStandard
from cascadeport.backends.ascend.target import AscendTarget
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import cards, targets
from cascadeport.config.cards import Card
from cascadeport.config.options import Options
from cascadeport.graph.lowering import LoweringRequest
from onnx import helper

from tests.helpers.graph_models import tiny_detector

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


def test_an_error_repeats_what_was_noted_before_atc_ran() -> None:
    noted = json.dumps({"event": "note", "text": "this CANN lists no kernel for RoiExtractor"})
    log = f"{noted}\n{HEAD}EZ3003: No supported Ops kernel and engine are found for [node_1]"
    error = convert.explain(log)
    assert error is not None
    assert convert._with_notes(error, log).details == ["this CANN lists no kernel for RoiExtractor"]


def test_what_a_graph_needs_is_asked_for(tmp_path: Path) -> None:
    assert convert._check(model(tmp_path), "Ascend310") == (
        *("python3", "/opt/cascadeport/check_operators.py", "--soc=Ascend310", "--"),
    )
    needs = convert._check(model(tmp_path, "RoiExtractor"), "Ascend310P3")[3:-1]
    assert needs == ("--need=RoiExtractor:RoiExtractor",)


def test_a_log_without_a_code_explains_nothing() -> None:
    assert convert.explain("ATC start working now, please wait for a moment.\n") is None


@pytest.fixture
def atc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in, as its installer lays it out."""
    home = tmp_path / "toolkit"
    (home / "atc" / "bin").mkdir(parents=True)
    shutil.copy(SOURCES / "atc", home / "atc" / "bin" / "atc")
    shutil.copytree(SOURCES / "cann_stand_in", home / "simulator" / "cann_stand_in")
    facts = personalities.release("5.1.RC2", "ascend310p")
    for name, content, _ in stand_in_files.toolkit_files(facts):
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (library,) = home.rglob("libascend_hal.so")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(library.parent))
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
    facts, graphs, aipp = om.read(tmp_path / "network.om")
    assert facts["simulated"] is True
    assert facts["soc_version"] == "Ascend310P3"
    assert facts["outputs"][0]["name"] == "node_1:0:y"
    assert aipp is None
    assert onnx.load_from_string(graphs[()]).graph.input[0].name == "input"


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


def test_the_lowering_in_standard_operators_is_compiled(atc: Path, tmp_path: Path) -> None:
    onnx.save(tiny_detector(), str(tmp_path / "neutral.onnx"))
    done = AscendStandard().lower(tmp_path / "neutral.onnx", tmp_path / "model.onnx")
    own = done.facts["atc"]
    changes = {"input_shape": own["input_shape"], "out_nodes": own["out_nodes"]}
    code, output = run(atc, done.path, **changes)
    assert code == 0, output
    assert (tmp_path / "network.om").exists()


def test_an_unknown_option(atc: Path, tmp_path: Path) -> None:
    code, output = run(atc, model(tmp_path), "--dynamic")
    assert code == 1
    assert "unknown command line flag 'dynamic'" in output


def with_gears(folder: Path) -> tuple[Path, atc_graph.AtcArguments]:
    """The demo lowered for two sizes of the input, and its arguments for atc."""
    neutral = REPOSITORY / "models" / "demo" / "demo.onnx"
    request = LoweringRequest(gears=((64, 96), (96, 64)))
    done = Ascend().lower(neutral, folder / "gears.onnx", request)
    return done.path, atc_graph.AtcArguments(**done.facts["atc"])


def test_two_sizes_are_gears_of_one_om_file(atc: Path, tmp_path: Path) -> None:
    path, own = with_gears(tmp_path)
    assert own.input_shape == "input:1,3,-1,-1"
    argv = convert.arguments(own, "Ascend310P3", {}, str(path), str(tmp_path))
    assert "--dynamic_image_size=64,96;96,64" in argv
    changes = {"input_shape": own.input_shape, "out_nodes": own.out_nodes}
    code, output = run(atc, path, **changes, dynamic_image_size=own.dynamic_image_size)
    assert code == 0, output
    sys.path.insert(0, str(SOURCES))
    try:
        from cann_stand_in import om
    finally:
        sys.path.pop(0)
    facts, graphs, _ = om.read(tmp_path / "network.om")
    assert facts["gears"] == [[64, 96], [96, 64]]
    assert sorted(graphs) == [(64, 96), (96, 64)]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"dynamic_image_size": ""}, "EZ3002"),
        ({"dynamic_image_size": "64,96"}, "E10035"),
        ({"dynamic_image_size": "64,96;64,96"}, "E10039"),
        ({"dynamic_image_size": "64,96;0,64"}, "E10038"),
        ({"dynamic_image_size": "64x96;96x64"}, "E10001"),
        ({"input_shape": "input:1,3,64,96"}, "E10040"),
        ({"input_shape": "input:1,-1,-1,96"}, "E10019"),
        # Not a multiple of 32: what the FPN adds together does not match.
        ({"dynamic_image_size": "64,96;90,64"}, "E20001"),
    ],
)
def test_gears_that_atc_refuses(
    atc: Path, tmp_path: Path, changes: dict[str, str], code: str
) -> None:
    path, own = with_gears(tmp_path)
    flags = {
        "input_shape": own.input_shape,
        "out_nodes": own.out_nodes,
        "dynamic_image_size": own.dynamic_image_size,
        **changes,
    }
    returned, output = run(atc, path, **flags)
    assert returned != 0
    assert f"{code}: " in output
    assert convert.explain(output) is not None


def test_bytes_have_no_gears(tmp_path: Path) -> None:
    request = LoweringRequest("uint8", (1, 1, 1), (1, 1, 1), gears=((64, 96), (96, 64)))
    with pytest.raises(CascadeportError, match="A static AIPP configuration has one size"):
        Ascend().lower(REPOSITORY / "models" / "demo" / "demo.onnx", tmp_path / "g.onnx", request)


def described(card: Card, folder: Path) -> atc_graph.AtcArguments:
    """The lowered demo's arguments for atc, by way of the JSON record."""
    assert card.graph is not None
    neutral = card.file(card.graph.all[0].path)
    request = LoweringRequest(dtype=card.input.dtype, mean=card.input.mean, std=card.input.std)
    done = Ascend().lower(neutral, folder / "lowered.onnx", request)
    return atc_graph.AtcArguments(**json.loads(json.dumps(done.record))["facts"]["atc"])


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
    text = atc_graph.aipp(8, 16, [1.0, 2.0, 3.0], [1.0, 1.0, 1.0])
    assert "src_image_size_w: 16" in text
    assert "src_image_size_h: 8" in text


def test_a_row_passes_its_flags_to_atc() -> None:
    rows = targets.load(Options().targets, backends.row)
    row = rows["310P3"].model_copy(update={"precision_mode": "allow_mix_precision"})
    assert isinstance(row, AscendTarget)
    assert row.atc_flags == {"precision_mode": "allow_mix_precision"}
