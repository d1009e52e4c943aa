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


def test_io_binding_gives_the_same_bytes_and_times_the_copies_apart(tmp_path: Path) -> None:
    path = tiny_model.save(tmp_path / "t.onnx", size=SIZE)
    plain = open_runner(job_for(path))
    bound = open_runner(job_for(path, runner={"options": {"io_binding": "cpu"}}))
    assert plain.describe()["device_time"] == bound.describe()["device_time"] == "execution"
    draw = np.random.default_rng(3)
    kept = []
    for _ in range(4):  # the memory is used again
        batch = (draw.random((1, 3, SIZE, SIZE)) > 0.999).astype(np.float32)
        expected, found = plain.run(batch), bound.run(batch)
        assert found.boxes.tobytes() == expected.boxes.tobytes()
        assert found.labels.tobytes() == expected.labels.tobytes()
        for part in (found.h2d_ms, found.device_ms, found.d2h_ms):
            assert part is not None
            assert part >= 0
        kept.append((found.boxes, found.boxes.copy()))
    # Nobody's boxes change when the next picture runs.
    assert all((boxes == copy).all() for boxes, copy in kept)


def test_io_binding_of_as_many_boxes_as_the_picture_has(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("NonZero", ["input"], ["places"]),
        helper.make_node("Transpose", ["places"], ["rows"]),
        helper.make_node("Cast", ["rows"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["numbers", "numbers"], ["eight"], axis=1),
        helper.make_node("Slice", ["eight", "zero", "five", "one"], ["boxes"]),
        helper.make_node("Slice", ["rows", "zero", "one", "one"], ["column"]),
        helper.make_node("Squeeze", ["column"], ["labels"], axes=[1]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 5]),
            helper.make_tensor_value_info("labels", TensorProto.INT64, ["n"]),
        ],
        [
            helper.make_tensor(name, TensorProto.INT64, [1], [value])
            for name, value in {"zero": 0, "one": 1, "five": 5}.items()
        ],
    )
    path = tmp_path / "n.onnx"
    imports = [helper.make_opsetid("", 11)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=6), str(path))
    bound = open_runner(job_for(path, runner={"options": {"io_binding": "cpu"}}))
    for count in (3, 0, 7):
        batch = np.zeros((1, 3, SIZE, SIZE), np.float32)
        batch[0, 0, 0, :count] = 1
        outputs = bound.run(batch)
        assert outputs.boxes.shape == (count, 5)
        assert outputs.labels.shape == (count,)


def test_a_device_with_memory_of_its_own_is_bound_unless_the_job_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In the place of CUDA, whose memory cannot be had here.
    monkeypatch.setattr(runner, "MEMORY", {"CPUExecutionProvider": "cpu"})
    path = tiny_model.save(tmp_path / "t.onnx", size=SIZE)
    batch = np.zeros((1, 3, SIZE, SIZE), np.float32)
    bound = open_runner(job_for(path))
    assert bound.describe()["device_time"] == "execution"
    assert bound.run(batch).h2d_ms is not None
    together = open_runner(job_for(path, runner={"options": {"io_binding": ""}}))
    assert together.describe()["device_time"] == "execution and copies"
    assert together.run(batch).h2d_ms is None
