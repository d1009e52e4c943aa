"""The targets' own images, in real containers on a real engine: what they find is what is expected.

Bases are stand-ins made from this machine's interpreters, packages come from a wheelhouse
(`make wheels`), so the builds have no network: as behind a wall.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from cascadeport import backends
from cascadeport.backends.ascend import personalities, releases
from cascadeport.backends.ascend.arithmetic import Arithmetic
from cascadeport.backends.ascend.backend import AscendBackend
from cascadeport.backends.ascend.reference_executor import executable
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import REPOSITORY
from cascadeport.config import cards
from cascadeport.config.options import Options
from cascadeport.core.task import Mount, Task
from cascadeport.graph.reshaping import at_shape
from cascadeport.pipeline import job as jobs

from tests.helpers import (
    command,
    contexts,
    docker_fixtures,
    real_world,
    tiny_model,
)
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.free_port import free_port
from tests.helpers.lowering import lower
from tests.helpers.target_images import empty, environment, run_all

pytestmark = pytest.mark.docker

DEMO = ["--model", "demo", "--data", "demo", "--limit", "8"]


PORT = free_port()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    # A program of this name on its PATH is how an engine knows that it can hand in GPUs.
    hook = tmp_path_factory.mktemp("bin") / "nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    path = f"{hook.parent}{os.pathsep}{os.environ['PATH']}"
    # The port is for those who come as if from another machine.
    port = f"--host=tcp://127.0.0.1:{PORT}"
    with docker_fixtures.started(env={"PATH": path}, extra=[port]) as engine:
        yield engine


@pytest.fixture(scope="module")
def shared_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What targets share: pictures and graphs are made once."""
    return tmp_path_factory.mktemp("build")


@pytest.fixture(params=["the demo's pictures", "real pictures"])
def cpu_run(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """What to run on `cpu`: the demo, and somebody else's detector on 26 pictures of COCO."""
    if request.param == "the demo's pictures":
        return DEMO
    shared = request.getfixturevalue("shared")
    card = real_world.nanodet(shared, tmp_path)
    return ["--model", str(card), "--data", str(shared / "coco26")]


def two_shapes(folder: Path) -> Path:
    """A card with a network for wide pictures and another for high ones."""
    files = []
    for shape in ((96, 128), (128, 96)):
        name = "{}x{}.onnx".format(*shape)
        tiny_model.save(folder / name, size=shape)
        files.append(f'{{ path = "{name}" }}')
    path = folder / "shapes.toml"
    path.write_text(
        f"""
title = "What is bright"
classes = [
    {{ name = "disc", category_id = 1 }},
    {{ name = "square", category_id = 3 }},
    {{ name = "triangle", category_id = 4 }},
]
[input]
shapes = [[96, 128], [128, 96]]
resize = [128, 96]
mean = [0, 0, 0]
std = [255, 255, 255]
channels = "rgb"
[graph]
files = [{", ".join(files)}]
""",
        encoding="utf-8",
    )
    return path


def test_networks_of_two_shapes_in_one_container(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    env = environment(engine, "cpu")
    what = ["--model", str(two_shapes(tmp_path)), *DEMO[2:]]
    docker = run_all(tmp_path / "docker", shared_build, *what, "--engine", "docker", **env)
    local = run_all(tmp_path / "local", shared_build, *what)
    assert docker["detections"] == local["detections"] != []
    lines = next(tmp_path.glob("docker/*/cpu-docker/infer/geometry.jsonl")).read_text().splitlines()
    assert {json.loads(line)["input_height"] for line in lines} == {96, 128}
    assert empty(engine)


def test_cpu_in_a_container_finds_what_a_local_run_finds(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path, cpu_run: list[str]
) -> None:
    env = environment(engine, "cpu")
    docker = run_all(tmp_path / "docker", shared_build, *cpu_run, "--engine", "docker", **env)
    local = run_all(tmp_path / "local", shared_build, *cpu_run)
    assert docker["status"] == "measured"
    assert docker["detections"] == local["detections"] != []
    assert docker["map"] == local["map"]
    assert docker["run"]["digests"] == local["run"]["digests"]
    assert empty(engine)


def test_killed_while_it_infers_and_started_again(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    """kill -9 of the orchestrator: the next run sweeps its container, resumes, doubles nothing."""
    env = environment(engine, "cpu")
    words = [*DEMO, "--engine", "docker"]
    process = subprocess.Popen(
        command.line(shared_build, tmp_path / "results", *words),
        env={**os.environ, **command.ENV, **env},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "warmup" in line:
            break
    process.kill()
    process.communicate()
    assert not empty(engine), "the container outlives who started it"
    assert list(tmp_path.glob("results/*/cpu-docker/result.json")) == []

    again = command.run(shared_build, tmp_path / "results", *words, **env)
    assert again.returncode in command.FINISHED, again.stderr
    assert "skip     lower demo" in again.stderr
    assert "run      run demo on demo" in again.stderr
    assert empty(engine)
    (folder,) = tmp_path.glob("results/*/cpu-docker")
    # The unfinished stage's folder is gone, and nothing stands twice.
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["evaluate", "infer"]
    detections = json.loads((folder / "infer/detections.json").read_text())
    local = run_all(tmp_path / "local", shared_build, *DEMO)
    assert detections == local["detections"]


@pytest.fixture(params=["the demo's pictures", "real pictures", "bytes"])
def ascend_run(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """What to run on an Ascend target.

    On the pictures of COCO the demo's classes pass for eight of COCO's: what it finds there is
    wrong and has to be the same everywhere. `bytes` is the demo normalised by AIPP.
    """
    if request.param == "the demo's pictures":
        return DEMO
    if request.param == "bytes":
        card = real_world.demo_card(tmp_path / "bytes.toml", dtype="uint8")
        return ["--model", str(card), *DEMO[2:]]
    shared = request.getfixturevalue("shared")
    card = real_world.demo_card(tmp_path / "coco.toml", coco=True)
    return ["--model", str(card), "--data", str(shared / "coco26")]


def test_310p3_simulated_finds_what_the_executor_finds(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path, ascend_run: list[str]
) -> None:
    """The target's own Dockerfile, atc's command line and the runner on aclruntime's API."""
    env = environment(engine, "310P3")
    words = [*ascend_run, "--target", "310P3", "--simulate"]
    found = run_all(tmp_path / "results", shared_build, *words, **env)
    assert_simulated(found, tmp_path)
    assert empty(engine)


def test_two_shapes_are_gears_of_one_om_file(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    """Every picture in its own orientation, by one file that aclruntime is told the size of."""
    env = environment(engine, "310P3")
    shapes = ((192, 256), (256, 192))
    words = [*DEMO, "--shapes", "192x256,256x192", "--resize", "256x192"]
    found = run_all(
        tmp_path / "results", shared_build, *words, "--target", "310P3", "--simulate", **env
    )
    assert found["status"] == "simulated"
    job = json.loads(next(tmp_path.glob("results/*/*/infer/job.json")).read_text())
    assert len(job["networks"]) == 1
    assert job["input"]["shapes"] == [list(shape) for shape in shapes]
    lowered = lower(
        REPOSITORY / "models/demo/demo.onnx", tmp_path / "gears.onnx", "ascend", gears=shapes
    )
    graph = onnx.load(str(lowered.path))
    job["networks"] = []
    for shape in shapes:
        onnx.save(at_shape(graph, shape), str(tmp_path / "gear.onnx"))
        name = tmp_path / "{}x{}.onnx".format(*shape)
        network = executable(tmp_path / "gear.onnx", name, "force_fp16")
        job["networks"].append({"path": str(network), "sha256": digest.of_file(network)})
    expected = by_onnxruntime(tmp_path / "executor", job, found)
    assert real_world.agreement(found["detections"], expected) > 0.97
    assert real_world.agreement(expected, found["detections"]) > 0.97
    assert empty(engine)


def test_a_simulated_target_on_another_host(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    """Nothing is shared with it: the simulated driver travels as everything else does."""
    env = environment(engine, "310P3")
    words = [*DEMO, "--target", "310P3", "--simulate"]
    here = run_all(tmp_path / "here", shared_build, *words, **env)
    # The port has no TLS; that has to be allowed by name.
    address = f"tcp://127.0.0.1:{PORT}"
    there = {**env, "DOCKER_HOST": address, "CASCADEPORT_INSECURE_TCP": "1"}
    found = run_all(tmp_path / "there", shared_build, *words, **there)
    assert found["status"] == "simulated"
    assert found["detections"] == here["detections"] != []
    assert found["run"]["engine"]["host"] == address
    assert empty(engine)


def test_what_was_cut_off_is_made_again(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    """A stage's output that something truncated is never used, and the others are kept."""
    env = environment(engine, "310P3")
    words = [*DEMO, "--target", "310P3", "--simulate"]
    before = run_all(tmp_path / "results", shared_build, *words, **env)
    om = next(shared_build.glob("models/demo/ascend-proposals*-Ascend310P3-simulated/network.om"))
    found = next(tmp_path.glob("results/*/310P3/infer/detections.json"))
    for path in (om, found):
        path.write_bytes(path.read_bytes()[:-100])
    again = command.run(shared_build, tmp_path / "results", *words, **env)
    assert again.returncode in command.FINISHED, again.stderr
    assert "skip     lower demo" in again.stderr
    assert "run      convert demo" in again.stderr
    assert "run      run demo on demo" in again.stderr
    assert json.loads(found.read_text()) == before["detections"]
    assert empty(engine)


def test_310_simulated_shares_the_pictures_among_its_chips(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    env = environment(engine, "310")
    words = [*DEMO, "--target", "310", "--simulate"]
    found = run_all(tmp_path / "results", shared_build, *words, **env)
    assert_simulated(found, tmp_path)
    assert found["run"]["environment"]["chips"] == 4
    assert found["run"]["environment"]["provider"] == "Ascend, 4 chips of this card"
    with next(tmp_path.glob("results/*/*/infer/times.csv")).open() as file:
        chips = {row["chip"] for row in csv.DictReader(file)}
    assert chips == {"0", "1", "2", "3"}
    assert empty(engine)


@pytest.mark.parametrize(("target", "chips"), [("310P3", 1), ("310", 4)])
def test_by_way_of_ais_infer_the_detections_are_the_same(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path, target: str, chips: int
) -> None:
    """BINS=1: `.bin` files, a process of the vendor's command line per chip, `.bin` files."""
    env = environment(engine, target)
    words = [*DEMO, "--target", target, "--simulate"]
    streamed = run_all(tmp_path / "streamed", shared_build, *words, **env)
    found = run_all(tmp_path / "bins", shared_build, *words, "--bins", **env)
    assert found["status"] == "simulated"
    assert found["detections"] == streamed["detections"] != []
    assert found["target"] == f"{target}-bins"
    assert found["chip_ips"] is found["device_ips"] is found["latency_ms"] is None
    assert found["run"]["environment"]["runtime"] == "ais_infer"
    assert found["run"]["environment"]["chips"] == chips

    (folder,) = tmp_path.glob("bins/*/*/infer")
    assert list(folder.rglob("*.bin")) == []
    logs = sorted(folder.glob("ais_infer-*.log"))
    assert [log.name for log in logs] == [f"ais_infer-{chip}.log" for chip in range(chips)]
    means = []
    for log in logs:
        told = re.search(r"throughput 1000\*batchsize\(1\)/NPU.*: ([\d.]+)$", log.read_text(), re.M)
        assert told is not None
        means.append(1000 / float(told[1]))
    # The device's own words, of which a simulated result shows nothing.
    summary = json.loads((folder / "run.json").read_text())["summary"]
    assert summary["latency_ms"]["n"] == found["pictures"]
    assert summary["latency_ms"]["mean"] == pytest.approx(sum(means) / chips)
    assert summary["device_ips"] == pytest.approx(sum(1000 / mean for mean in means))
    assert summary["end_to_end_ips"] is None
    assert empty(engine)


# 2022-09 is what the tests above run.
@pytest.mark.parametrize("revision", ["2022-06", "2022-07", "2025-12"])
def test_each_revision_of_the_vendor_s_tools(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path, revision: str
) -> None:
    """The module in the streaming pass, and the command line, each of its own time."""
    env = environment(engine, "310P3")
    few = ["--model", "demo", "--data", "demo", "--limit", "5", "--repeats", "1"]
    words = [*few, "--target", "310P3", "--simulate", "--personality", revision]
    facts = personalities.revision(revision)
    streamed = run_all(tmp_path / "streamed", shared_build, *words, **env)
    found = run_all(tmp_path / "bins", shared_build, *words, "--bins", **env)
    assert found["detections"] == streamed["detections"] != []
    known = streamed["run"]["environment"]
    assert known["runtime_version"] == facts["version"]
    assert ("host's clock" in known["device_clock"]) == (facts["times"] == "total")
    assert found["run"]["environment"]["runtime"] == facts["tool"].split(".")[0]
    # atc writes it for itself only, and the run is by another.
    (om,) = shared_build.glob("models/demo/ascend-proposals*-Ascend310P3-simulated/network.om")
    assert om.stat().st_mode & 0o777 == 0o644
    assert empty(engine)


def test_a_current_cann_on_the_vendor_s_image(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    """Its operators are looked up before atc runs; without them, it fails and standard ones do."""
    env = environment(engine, "310P3", "9.0.1")
    few = ["--model", "demo", "--data", "demo", "--limit", "5", "--repeats", "1"]
    words = [*few, "--target", "310P3", "--simulate", "--cann-release", "9.0.1"]
    words += ["--personality", "2025-12"]
    refused = command.run(shared_build, tmp_path / "refused", *words, **env)
    assert refused.returncode != 0
    assert "The chip has no kernel for an operator" in refused.stderr
    # Before atc runs, and beside its error.
    noted = "this CANN lists no kernel on Ascend310P3 for DeformableConv2D"
    assert refused.stderr.count(noted) == 2
    assert "--lowering ascend-standard" in refused.stderr
    assert not list(shared_build.glob("models/demo/*-cann-9.0.1-simulated"))
    words += ["--lowering", "ascend-standard"]
    found = run_all(tmp_path / "results", shared_build, *words, **env)
    assert found["target"] == "310P3-ascend-standard-cann-9.0.1"
    assert "CANN 9.0.1" in found["title"]
    assert found["run"]["environment"]["runtime_version"] == "0.0.2"
    release = releases.find("9.0.1")
    expected = by_executor(tmp_path, found, "ascend-standard", release.kernels)
    assert real_world.agreement(found["detections"], expected) > 0.97
    assert real_world.agreement(expected, found["detections"]) > 0.97
    assert empty(engine)


def assert_simulated(found: dict[str, Any], folder: Path) -> None:
    """What a simulated result says, and what it found."""
    assert found["status"] == "simulated"
    for key in ("chip_ips", "device_ips", "end_to_end_ips", "latency_ms"):
        assert found[key] is None
    assert found["run"]["environment"]["runtime"] == "aclruntime"
    proofs = found["run"]["environment"]["device_proof"]
    assert {one["kind"] for one in proofs} == {"stand-in"}
    assert len(proofs) == found["run"]["environment"]["chips"]
    assert [one for one in found["semantics"] if "NMS in float16" in one]
    expected = by_executor(folder, found)
    # Another onnxruntime and another opencv run in the image: close, not equal.
    assert real_world.agreement(found["detections"], expected) > 0.97
    assert real_world.agreement(expected, found["detections"]) > 0.97


def by_executor(
    folder: Path,
    found: dict[str, Any],
    lowering: str = "ascend",
    kernels: Arithmetic | None = None,
) -> list[dict[str, Any]]:
    """What the reference executor detects in the same pictures: run here, lowered here."""
    job = json.loads(next(folder.glob("results/*/*/infer/job.json")).read_text())
    out = folder / "executor"
    out.mkdir()
    card = cards.load(real_world.DEMO_CARD)
    assert card.graph is not None
    lowered = lower(card.file(card.graph.path), out / "ascend.onnx", lowering)
    network = executable(lowered.path, out / "executable.onnx", "force_fp16", kernels)
    # AIPP normalises before the graph: here the bundle does, and pads with 0.
    job["input"]["dtype"] = "float32"
    job["networks"] = [{"path": str(network), "sha256": digest.of_file(network)}]
    return by_onnxruntime(out, job, found)


def by_onnxruntime(out: Path, job: dict[str, Any], found: dict[str, Any]) -> list[dict[str, Any]]:
    """What onnxruntime detects here in the pictures of a result, by another job's networks."""
    out.mkdir(exist_ok=True)
    provider = "CPUExecutionProvider"
    job["runner"] = {"name": "onnxruntime", "provider": provider, "threads": 2, "options": {}}
    job["pictures"]["root"] = str(Path(found["dataset"]["root"]) / "val2017")
    (out / "job.json").write_text(json.dumps(job))
    bundle = [sys.executable, "-m", "bundle", "run", str(out / "job.json"), str(out)]
    subprocess.run(bundle, check=True, cwd=REPOSITORY, capture_output=True)
    detections: list[dict[str, Any]] = json.loads((out / "detections.json").read_text())
    return detections


def in_container(
    engine: PrivateEngine, target: str, folder: Path, *argv: str, **options: Any
) -> str:
    """Runs a command in a target's own image; returns its log."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment(engine, target).items():
            patch.setenv(key, value)
        opened = contexts.context(target, build=folder / "build", **options).engine
        out = folder / "out"
        out.mkdir(exist_ok=True)
        task = Task("infer", argv, (Mount(out, "/out", writable=True),), folder / "log")
        try:
            opened.run(task, lambda event: None)
        finally:
            opened.close()
    return (folder / "log").read_text()


def test_the_image_checks_itself(engine: PrivateEngine, tmp_path: Path) -> None:
    log = in_container(engine, "cpu", tmp_path, "python3", "-m", "bundle", "selfcheck")
    assert '"ok": true' in log


def test_a_driver_older_than_cann_is_told_at_the_start(
    engine: PrivateEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "driver"
    driver.mkdir()
    (driver / "version.info").write_text("Version=21.0.3.1\nascendhal_version=3.9.1\n")
    known = AscendBackend.variables
    monkeypatch.setattr(
        AscendBackend,
        "variables",
        lambda *given: {**known(*given), "ASCEND_DRIVER": str(driver)},
    )
    with pytest.raises(CascadeportError, match=r"driver 21\.0\.3\.1 is older") as caught:
        in_container(engine, "310P3", tmp_path, "true", simulate=True)
    assert "ascendhal_version is 3.9.1" in caught.value.where


def test_an_om_file_of_another_soc_or_cut_off_is_refused(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    made = next(
        shared_build.glob("models/demo/ascend-proposals*-Ascend310P3-simulated/network.om"), None
    )
    if made is None:
        pytest.skip("the conversion for 310P3 did not run before")
    job = {
        "om": made.read_bytes(),
        "cut": made.read_bytes()[:4096],
    }
    card = cards.load(cards.find("demo", Options().models))
    for name, content in job.items():
        folder = tmp_path / name
        (folder / "out").mkdir(parents=True)
        (folder / "out" / "network.om").write_bytes(content)
        (folder / "out" / "job.json").write_text(json.dumps(small_job(card, content)))
        target = "310" if name == "om" else "310P3"
        with pytest.raises(CascadeportError, match="could not load the network") as caught:
            in_container(
                engine,
                target,
                folder,
                "python3",
                "-m",
                "bundle",
                "run",
                "/out/job.json",
                "/out",
                simulate=True,
            )
        # What the runtime printed from C before its process ended by _exit.
        assert "EE4000: [om]" in (folder / "log").read_text()
        assert "made for Ascend310P3. If `npu-smi info`" in caught.value.next
        assert "convert it again" in caught.value.next


def small_job(card: cards.Card, network: bytes, name: str = "310P3") -> dict[str, Any]:
    """A job that gets as far as loading its network."""
    context = contexts.context(name)
    settings = jobs.settings(card, backends.of(context.target), context.options, 1)
    picture = {"id": 1, "file": "none.jpg", "width": 8, "height": 8}
    return {
        **settings,
        "networks": [{"path": "network.om", "sha256": hashlib.sha256(network).hexdigest()}],
        "pictures": {"root": ".", "items": [picture]},
    }


def test_the_t4_refuses_to_run_on_a_processor(engine: PrivateEngine, tmp_path: Path) -> None:
    """The image as it is, handed a GPU that does not exist: nothing falls back unseen."""
    card = cards.load(cards.find("demo", Options().models))
    assert card.graph is not None
    out = tmp_path / "out"
    out.mkdir()
    network = out / "network.onnx"
    lower(card.file(card.graph.path), network, "onnxruntime")
    job = small_job(card, network.read_bytes(), "T4")
    job["networks"][0]["path"] = network.name
    (out / "job.json").write_text(json.dumps(job))
    with pytest.raises(CascadeportError, match="CUDAExecutionProvider was requested") as caught:
        in_container(
            engine, "T4", tmp_path, "python3", "-m", "bundle", "run", "/out/job.json", "/out"
        )
    assert "CPUExecutionProvider" in caught.value.what
    assert empty(engine)
