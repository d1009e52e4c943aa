"""The targets' own images, in real containers on a real engine: what they find is what is expected.

Bases are stand-ins made from this machine's interpreters, packages come from a wheelhouse
(`make wheels`), so the builds have no network: as behind a wall.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cascadeport import cards, targets
from cascadeport.engines import Mount, Task, wheels
from cascadeport.engines.docker import DockerEngine
from cascadeport.errors import CascadeportError
from cascadeport.options import REPOSITORY, Options

from tests.helpers import docker_engine, docker_fixtures, stand_in_base
from tests.helpers.docker_engine import PrivateEngine

pytestmark = [pytest.mark.docker, pytest.mark.images]

PICTURES = 4
_FETCHED: set[str] = set()
BASES = {"cpu": "3.11", "310": "3.9", "310P3": "3.9", "T4": "3.12"}


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    # A program of this name on its PATH is how an engine knows that it can hand in GPUs.
    hook = tmp_path_factory.mktemp("bin") / "nvidia-container-runtime-hook"
    hook.write_text("#!/bin/sh\nexit 0\n")
    hook.chmod(0o755)
    path = f"{hook.parent}{os.pathsep}{os.environ['PATH']}"
    with docker_fixtures.started(env={"PATH": path}) as engine:
        yield engine


@pytest.fixture(scope="module")
def shared_build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What targets share: pictures and graphs are made once."""
    return tmp_path_factory.mktemp("build")


def environment(engine: PrivateEngine, target: str) -> dict[str, str]:
    """What a user behind a wall sets; the base and the wheels are put in place first."""
    version = BASES[target]
    reason = docker_engine.missing() or stand_in_base.missing(version)
    if reason:
        pytest.skip(reason)
    tag = f"stand-in/python:{version}"
    tar = engine.folder / f"python-{version}.tar"
    if not tar.exists():
        stand_in_base.load("docker", engine.host, stand_in_base.build(version, tar), tag)
    image = targets.load(Options().targets)[target].image
    for folder in wheels.folders(image):
        if folder not in _FETCHED:
            wheels.fetch(folder, wheels.FOLDER / folder)
            _FETCHED.add(folder)
    return {
        "DOCKER_HOST": engine.host,
        "BASE_IMAGE": tag,
        "WHEELS": wheels.FOLDER.relative_to(REPOSITORY).as_posix(),
        # The engine may not be the docker command's own.
        "PATH": os.environ["PATH"],
    }


def run_all(folder: Path, build: Path, *arguments: str, **env: str) -> dict[str, Any]:
    """`cascadeport all` on the demo's first pictures; returns the result."""
    command = [sys.executable, "-m", "cascadeport", "all", "--model", "demo", "--data", "demo"]
    command += ["--limit", str(PICTURES), "--repeats", "1"]
    command += ["--build", str(build), "--results", str(folder), *arguments]
    paths = f"{REPOSITORY / 'scripts'}:{REPOSITORY}"
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": paths, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = folder.glob("*/*/result.json")
    found: dict[str, Any] = json.loads(result.read_text())
    found["detections"] = json.loads((result.parent / "infer/detections.json").read_text())
    return found


def empty(engine: PrivateEngine) -> bool:
    """Whether nothing is left on the engine but images."""
    import docker

    client = docker.DockerClient(base_url=engine.host)
    left = client.containers.list(all=True) + client.volumes.list()
    client.close()
    return left == []


def test_cpu_in_a_container_finds_what_a_local_run_finds(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    env = environment(engine, "cpu")
    docker = run_all(tmp_path / "docker", shared_build, "--engine", "docker", **env)
    local = run_all(tmp_path / "local", shared_build)
    assert docker["status"] == "measured"
    assert docker["detections"] == local["detections"]
    assert docker["map"] == local["map"]
    assert docker["run"]["digests"] == local["run"]["digests"]
    assert empty(engine)


@pytest.mark.parametrize("target", ["310P3", "310"])
def test_a_simulated_ascend_target_finds_what_the_executor_finds(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path, target: str
) -> None:
    env = environment(engine, target)
    found = run_all(tmp_path / "results", shared_build, "--target", target, "--simulate", **env)
    assert found["status"] == "simulated"
    assert found["device_ips"] is None
    assert found["end_to_end_ips"] is None
    assert found["run"]["environment"]["runtime"] == "aclruntime"
    expected = by_executor(tmp_path, shared_build, found)
    # Another onnxruntime and another opencv run in the image: close, not equal.
    assert abs(found["map"] - expected) < 0.01
    assert empty(engine)


def by_executor(folder: Path, build: Path, found: dict[str, Any]) -> float:
    """mAP of the reference executor of the same graph, run here by the bundle."""
    from cascadeport import evaluation, graph

    lowered = next(build.glob("models/demo/ascend/network.onnx"))
    executable = graph.executable(lowered, folder / "executable.onnx", "force_fp16")
    job_file = next(folder.glob("results/*/*/infer/job.json"))
    job = json.loads(job_file.read_text())
    from cascadeport import digest

    job["model"] = {"path": str(executable), "sha256": digest.of_file(executable)}
    job["runner"] = {
        "name": "onnxruntime",
        "provider": "CPUExecutionProvider",
        "threads": 2,
        "options": {},
    }
    job["pictures"]["root"] = str(Path(found["dataset"]["root"]) / "val2017")
    out = folder / "executor"
    out.mkdir()
    (out / "job.json").write_text(json.dumps(job))
    subprocess.run(
        [sys.executable, "-m", "bundle", "run", str(out / "job.json"), str(out)],
        check=True,
        cwd=REPOSITORY,
        capture_output=True,
    )
    done = evaluation.evaluate(
        Path(found["dataset"]["annotations"]),
        out / "detections.json",
        [item["id"] for item in job["pictures"]["items"]],
    )
    value = done.stats["AP"]
    assert value is not None
    return value


def in_container(
    engine: PrivateEngine, target: str, folder: Path, *argv: str, **options: Any
) -> str:
    """Runs a command in a target's own image; returns its log."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment(engine, target).items():
            patch.setenv(key, value)
        opened = DockerEngine(
            target,
            targets.load(Options().targets)[target],
            Options(target=target, build=folder / "build", **options),
        )
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
    from cascadeport.engines import ascend

    driver = tmp_path / "driver"
    driver.mkdir()
    (driver / "version.info").write_text("Version=21.0.3.1\nascendhal_version=3.9.1\n")
    known = ascend.variables
    monkeypatch.setattr(
        ascend,
        "variables",
        lambda options, environ: {**known(options, environ), "ASCEND_DRIVER": str(driver)},
    )
    with pytest.raises(CascadeportError, match=r"driver 21\.0\.3\.1 is older") as caught:
        in_container(engine, "310P3", tmp_path, "true", simulate=True)
    assert "ascendhal_version is 3.9.1" in caught.value.where


def test_an_om_file_of_another_soc_or_cut_off_is_refused(
    engine: PrivateEngine, shared_build: Path, tmp_path: Path
) -> None:
    made = next(shared_build.glob("models/demo/ascend-Ascend310P3-simulated/network.om"), None)
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
        assert "convert it again" in caught.value.next


def small_job(card: cards.Card, network: bytes, name: str = "310P3") -> dict[str, Any]:
    """A job that gets as far as loading its network."""
    from cascadeport import jobs

    target = targets.load(Options().targets)[name]
    settings = jobs.settings(card, target, Options(), 1)
    picture = {"id": 1, "file": "none.jpg", "width": 8, "height": 8}
    return {
        **settings,
        "model": {"path": "network.om", "sha256": hashlib.sha256(network).hexdigest()},
        "pictures": {"root": ".", "items": [picture]},
    }


def test_the_t4_refuses_to_run_on_a_processor(engine: PrivateEngine, tmp_path: Path) -> None:
    """The image as it is, handed a GPU that does not exist: nothing falls back unseen."""
    from cascadeport import graph

    card = cards.load(cards.find("demo", Options().models))
    assert card.graph is not None
    out = tmp_path / "out"
    out.mkdir()
    network = out / "network.onnx"
    graph.lower(card.file(card.graph.path), network, "onnxruntime")
    job = small_job(card, network.read_bytes(), "T4")
    job["model"]["path"] = network.name
    (out / "job.json").write_text(json.dumps(job))
    with pytest.raises(CascadeportError, match="CUDAExecutionProvider was asked for") as caught:
        in_container(
            engine, "T4", tmp_path, "python3", "-m", "bundle", "run", "/out/job.json", "/out"
        )
    assert "CPUExecutionProvider" in caught.value.what
    assert empty(engine)
