"""The onnxruntime runner: the contract is checked at load, and nothing falls back unseen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from bundle.errors import BundleError
from bundle.job import Job
from bundle.runners import open_runner
from bundle.runners.onnxruntime import session as runner
from tests.helpers import bundle_jobs as jobs
from tests.helpers import tiny_model

SIZE = jobs.SIZE


def job_for(path: Path, **changes: Any) -> Job:
    return jobs.checked(jobs.job(Path("/p"), [jobs.item(1, "a", 1, 1)], path, **changes))


def changed(tmp_path: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    path = tiny_model.save(tmp_path / "tiny.onnx", size=SIZE)
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    return path


def test_labels_may_be_int32(tmp_path: Path) -> None:
    path = tiny_model.save(tmp_path / "t.onnx", size=SIZE, label_type=TensorProto.INT32)
    loaded = open_runner(job_for(path))
    outputs = loaded.run(np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert outputs.labels.dtype == np.int32
    assert outputs.device_ms > 0
    assert (outputs.h2d_ms, outputs.d2h_ms) == (None, None)
    assert loaded.describe()["provider"] == "CPUExecutionProvider"
    loaded.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"input": {"name": "image"}},
            "its input is not called 'image'. It has inputs 'input' float32",
        ),
        ({"input": jobs.square(64)}, "'input' is not float32 (1,3,64,64)"),
        ({"input": {"dtype": "uint8"}}, "'input' is not uint8 (1,96,96,3)"),
        ({"outputs": {"boxes": "dets"}}, "there is no output 'dets'"),
        ({"outputs": {"labels": "classes"}}, "there is no output 'classes'"),
        ({"outputs": {"boxes": "labels"}}, "'labels' is not float32 (n,5)"),
        ({"outputs": {"labels": "boxes"}}, "'boxes' is not int64 (n,)"),
    ],
)
def test_a_network_that_violates_the_contract(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    path = tiny_model.save(tmp_path / "t.onnx", size=SIZE)
    with pytest.raises(BundleError) as caught:
        open_runner(job_for(path, **changes))
    assert message in caught.value.what
    assert "outputs 'boxes' float32 (5,5), 'labels' int64 (5)" in caught.value.what
    assert caught.value.where == str(path)


def test_sizes_that_the_graph_leaves_open_are_taken(tmp_path: Path) -> None:
    def open_sizes(model: onnx.ModelProto) -> None:
        for value in [*model.graph.input, *model.graph.output]:
            for edge in value.type.tensor_type.shape.dim:
                edge.Clear()
                edge.dim_param = "n"

    open_runner(job_for(changed(tmp_path, open_sizes)))


def test_a_second_input_is_refused(tmp_path: Path) -> None:
    def add(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("im_info", TensorProto.FLOAT, [3]))

    with pytest.raises(BundleError, match="it has 2 inputs, not one"):
        open_runner(job_for(changed(tmp_path, add)))


def test_what_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(BundleError, match="cannot load the network"):
        open_runner(job_for(path))


def test_a_network_that_fails_while_it_runs(tmp_path: Path) -> None:
    """A Reshape that does not go up: known only when it runs."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [7, 5])
    found = helper.make_tensor("label", TensorProto.INT64, [1], [0])
    graph = helper.make_graph(
        [
            helper.make_node("Reshape", ["input", "shape"], ["boxes"]),
            helper.make_node("Identity", ["label"], ["labels"]),
        ],
        "fails",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["a", 3, "b", "c"])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("labels", TensorProto.INT64, [1]),
        ],
        [shape, found],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 7
    onnx.save(model, str(tmp_path / "fails.onnx"))
    loaded = open_runner(job_for(tmp_path / "fails.onnx"))
    with pytest.raises(BundleError, match="could not run the network") as caught:
        loaded.run(np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert "\n" not in caught.value.what


def test_a_provider_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tiny_model.save(tmp_path / "t.onnx", size=SIZE)
    job = job_for(path, runner={"provider": "CUDAExecutionProvider"})
    with pytest.raises(BundleError, match="has no CUDAExecutionProvider") as caught:
        open_runner(job)
    assert "CPUExecutionProvider" in caught.value.next


def test_a_session_that_falls_back_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime accepts a provider that it was built with and whose libraries are missing, warns,
    and runs on the CPU. Here the CPU session is what such a session is."""
    path = tiny_model.save(tmp_path / "t.onnx", size=SIZE)
    job = job_for(path, runner={"provider": "CUDAExecutionProvider"})
    cpu = job_for(path)
    session = runner._open_session(
        cpu, cpu.runner.networks[0], "CPUExecutionProvider", runner._session_options(cpu)
    )
    monkeypatch.setattr(runner, "_open_session", lambda *arguments: session)
    with pytest.raises(BundleError, match="CUDAExecutionProvider was requested, but") as caught:
        open_runner(job)
    assert "CPUExecutionProvider" in caught.value.what


def test_session_and_provider_options_reach_onnxruntime(tmp_path: Path) -> None:
    path = tiny_model.save(tmp_path / "t.onnx", size=SIZE)
    options = {
        "session": {"session.intra_op.allow_spinning": 0},
        "provider": {"arena_extend_strategy": "kSameAsRequested"},
    }
    loaded = open_runner(job_for(path, runner={"options": options, "threads": 2}))
    used = loaded._session.get_session_options()
    assert used.intra_op_num_threads == 2
    assert used.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_the_helper_names_the_file_it_made(tmp_path: Path) -> None:
    """The digest in the job is the network's: otherwise every test of a refusal would pass."""
    path = tiny_model.save(tmp_path / "t.onnx", size=SIZE)
    assert job_for(path).runner.networks[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
