"""OpenVINO beside onnxruntime: the same pictures, the same graph, the same detections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.engines import tensors

from tests.helpers import command, contexts, docker_fixtures, real_world, target_images
from tests.helpers.lowering import lower

DEMO = ["--model", "demo", "--data", "demo", "--limit", "20"]
GRAPH = REPOSITORY / "models" / "demo" / "demo.onnx"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What targets share: pictures and graphs are made once."""
    environment = backends.of(contexts.context("openvino").target).environment
    assert environment is not None
    if not environment.is_installed:
        pytest.skip("OpenVINO is not installed; cascadeport install --target openvino installs it")
    return tmp_path_factory.mktemp("build")


def run(folder: Path, build: Path, target: str, *words: str) -> dict[str, Any]:
    done = command.run(build, folder, "--target", target, *words)
    assert done.returncode in command.FINISHED, done.stdout + done.stderr
    (result,) = folder.glob(f"*/{target}/result.json")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    detections = (result.parent / "infer" / "detections.json").read_text(encoding="utf-8")
    found["detections"] = json.loads(detections)
    return found


def test_the_demo_is_found_as_by_onnxruntime(build: Path, tmp_path: Path) -> None:
    found, expected = (run(tmp_path, build, name, *DEMO) for name in ("openvino", "cpu"))
    assert found["status"] == "measured"
    assert found["run"]["environment"]["runtime"] == "openvino"
    assert found["run"]["environment"]["providers"] == ["CPU"]
    assert len(found["detections"]) == len(expected["detections"]) > 100
    assert found["map"] == pytest.approx(expected["map"], abs=1e-3)
    ours, theirs = found["detections"], expected["detections"]
    assert real_world.agreement(ours, theirs) == real_world.agreement(theirs, ours) == 1.0


def test_somebody_elses_detector_on_real_pictures(
    build: Path, shared: Path, tmp_path: Path
) -> None:
    """AP 0.3274 was measured with pycocotools on the detector's own code."""
    card = real_world.nanodet(shared, tmp_path)
    words = ["--model", str(card), "--data", str(shared / "coco26")]
    found, expected = (run(tmp_path, build, name, *words) for name in ("openvino", "cpu"))
    assert found["map"] == pytest.approx(0.327, abs=0.003)
    assert real_world.agreement(found["detections"], expected["detections"]) == 1.0


def test_an_export_is_verified_by_its_own_runtime(build: Path, tmp_path: Path) -> None:
    backend = backends.of(contexts.context("openvino").target)
    lowered = lower(GRAPH, tmp_path / "network.onnx", "openvino")
    session = backend.session(lowered.path, lowered.lowering)
    assert session is not None
    assert session.runtime.startswith("openvino ")
    batch = np.random.default_rng(3).normal(size=(1, 3, 256, 256)).astype(np.float32)
    ((boxes, labels),) = session.run([batch])
    assert boxes.shape == (len(labels), 5)


def test_a_device_that_is_not_there_is_an_error_not_a_fallback(build: Path, tmp_path: Path) -> None:
    rows = (REPOSITORY / "targets.toml").read_text(encoding="utf-8")
    path = tmp_path / "targets.toml"
    path.write_text(rows.replace('device = "CPU"', 'device = "GPU.7"'), encoding="utf-8")
    context = contexts.context("openvino", targets=path)
    runner = backends.of(context.target).runner(context.options)
    assert runner["provider"] == "GPU.7"
    environment = backends.of(context.target).environment
    assert environment is not None
    lowered = lower(GRAPH, tmp_path / "network.onnx", "openvino")
    session = tensors.session(environment.python, lowered.path, runner, "openvino")
    with pytest.raises(CascadeportError, match=r"no device 'GPU\.7'"):
        session.run([np.zeros((1, 3, 256, 256), np.float32)])


@pytest.mark.docker
def test_in_its_container_it_finds_the_same(build: Path, tmp_path: Path) -> None:
    with docker_fixtures.started() as engine:
        env = target_images.environment(engine, "openvino")
        words = ["--target", "openvino", *DEMO, "--engine", "docker"]
        found = target_images.run_all(tmp_path / "docker", build, *words, **env)
        assert target_images.empty(engine)
    local = run(tmp_path / "local", build, "openvino", *DEMO)
    assert found["status"] == "measured"
    assert found["detections"] == local["detections"]
