"""A provider that runs none of the expensive nodes is found out, by onnxruntime's own profile."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from bundle.errors import BundleError
from bundle.job import Job
from bundle.run import run
from bundle.runners import open_runner
from bundle.runners.onnxruntime.nvidia import nvidia_gpu
from bundle.runners.onnxruntime.placement import count_nodes, find_problems, read_nodes
from tests.helpers import bundle_jobs as jobs
from tests.helpers import tiny_model

SIZE = jobs.SIZE
CPU = "CPUExecutionProvider"
# In every wheel, listed first when asked for, and without a kernel for anything in these networks:
# what it is asked to run, the CPU runs.
ELSEWHERE = "AzureExecutionProvider"


def with_convolution(path: Path) -> Path:
    """The network that sees, behind a convolution that changes nothing."""
    model = onnx.load(str(tiny_model.save(path, size=SIZE)))
    for node in model.graph.node:
        node.input[:] = ["seen" if name == "input" else name for name in node.input]
    weight = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(weight, "identity"))
    model.graph.node.insert(0, helper.make_node("Conv", ["input", "identity"], ["seen"]))
    onnx.save(model, str(path))
    return path


def job_for(path: Path, provider: str) -> Job:
    return jobs.checked(
        jobs.job(Path("/p"), [jobs.item(1, "a", 1, 1)], path, runner={"provider": provider})
    )


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.skipif(
    ELSEWHERE not in onnxruntime.get_available_providers(),
    reason=f"this onnxruntime has no {ELSEWHERE} to fall back from",
)
def test_heavy_nodes_on_the_cpu_make_the_run_invalid(tmp_path: Path, temporary: Path) -> None:
    loaded = open_runner(job_for(with_convolution(tmp_path / "t.onnx"), ELSEWHERE))
    assert loaded.describe()["providers"][0] == ELSEWHERE
    assert loaded.describe()["problems"] == []
    picture = np.zeros((1, 3, SIZE, SIZE), np.float32)
    for _ in range(2):
        loaded.run(picture)
    problem = f"1 of the 1 expensive nodes did not run on {ELSEWHERE}: 1 Conv on {CPU}"
    assert [one.replace("FusedConv", "Conv") for one in loaded.describe()["problems"]] == [problem]
    loaded.close()
    assert list(temporary.iterdir()) == []


def test_the_sentence_reaches_the_record(tmp_path: Path) -> None:
    if ELSEWHERE not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no {ELSEWHERE} to fall back from")
    items = jobs.write_pictures(tmp_path)
    path = with_convolution(tmp_path / "t.onnx")
    job = jobs.checked(jobs.job(tmp_path, items, path, runner={"provider": ELSEWHERE}))
    record = run(job, str(tmp_path / "out"))
    assert len(record["problems"]) == 1
    assert "expensive nodes did not run" in record["problems"][0]
    assert "problems" not in record["environment"]


def test_nothing_is_reported_if_the_cpu_was_requested(tmp_path: Path, temporary: Path) -> None:
    loaded = open_runner(job_for(with_convolution(tmp_path / "t.onnx"), CPU))
    loaded.run(np.zeros((1, 3, SIZE, SIZE), np.float32))
    assert loaded.describe()["problems"] == []
    counted = loaded.describe()["nodes"]
    assert list(counted) == [CPU]
    assert counted[CPU]["nodes"] >= 2
    loaded.close()
    assert list(temporary.iterdir()) == []


def test_a_network_that_cannot_be_loaded_leaves_nothing(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "t.onnx").write_bytes(b"no network")
    with pytest.raises(BundleError):
        open_runner(job_for(tmp_path / "t.onnx", CPU))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '[{"cat": "Node", "name": "a_kernel_time"}]'])
def test_a_profile_that_says_nothing_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(text)
    with pytest.raises(BundleError, match="is unusable"):
        read_nodes(str(path))


def test_light_nodes_may_run_beside_the_device(tmp_path: Path) -> None:
    def node(name: str, provider: str) -> dict[str, object]:
        arguments = {"op_name": name, "provider": provider}
        return {"cat": "Node", "name": f"{name}_kernel_time", "dur": 1500, "args": arguments}

    cuda = "CUDAExecutionProvider"
    path = tmp_path / "profile.json"
    path.write_text(json.dumps([node("Conv", cuda), node("Shape", CPU), node("TopK", CPU)]))
    assert find_problems(read_nodes(str(path)), cuda) == []
    path.write_text(json.dumps([node("Conv", cuda), node("DeformConv", CPU)]))
    assert find_problems(read_nodes(str(path)), cuda) == [
        f"1 of the 2 expensive nodes did not run on {cuda}: 1 DeformConv on {CPU}"
    ]
    assert count_nodes(read_nodes(str(path))) == {
        CPU: {"nodes": 1, "ms": 1.5},
        cuda: {"nodes": 1, "ms": 1.5},
    }


@pytest.mark.parametrize(
    ("answer", "code", "expected"),
    [
        ("Tesla T4, 535.104.05\n", 0, {"device": "Tesla T4", "driver": "535.104.05"}),
        ("A, B, 580.1\nA, B, 580.1\n", 0, {"device": "A, B", "driver": "580.1"}),
        ("No devices were found\n", 6, {}),
        ("", 0, {}),
    ],
)
def test_the_gpu_has_a_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
    expected: dict[str, str],
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{answer}'\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert nvidia_gpu() == expected
    program.unlink()
    assert nvidia_gpu() == {}
