"""The export environment: its locks, its making without Docker, its image on a real engine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cascadeport.config import compose
from cascadeport.containers import images
from cascadeport.containers.wheels import FOLDER, download
from cascadeport.graph.verify import compare
from cascadeport.scenes import generate

from tests.helpers import docker_engine, stand_in_base, web_server
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.export_world import World

LOCKS = ("requirements-tools", "requirements", "requirements-source")
GUIDE = {
    "torch": "1.7.0",
    "onnx": "1.7.0",
    "onnxruntime": "1.9.0",
    "numpy": "1.21.6",
    "mmdet": "2.8.0",
    "mmcv-full": "1.2.4",
    "mmpycocotools": "12.0.3",
    "protobuf": "3.20.0",
    "opencv-python-headless": "4.5.4.60",
}
PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)
INSIDE = """\
import json, os, shutil
packages = os.listdir("/opt/packages")
files = [file for _, _, names in os.walk("/opt/packages") for file in names]
print(json.dumps({
    "uid": os.getuid(),
    "programs": [name for name in ("g++", "gcc", "cc", "ninja", "cython") if shutil.which(name)],
    "left": [path for path in ("/wheels", "/built", "/locks") if os.path.exists(path)],
    "tools": [name for name in packages if name.lower().startswith(("cython", "ninja"))],
    "compiled": sum(name.endswith(".pyc") for name in files),
}))
"""
IMAGE, BASE = "cascadeport/export", "stand-in/python37"


def pins(repository: Path, name: str) -> dict[str, str]:
    text = (repository / "images" / "export" / name).read_text(encoding="utf-8")
    return dict(PIN.findall(text))


# The locks


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_its_source_with_hashes_and_no_address(repository: Path, name: str) -> None:
    locked = pins(repository, f"{name}.lock")
    assert locked
    assert locked == pins(repository, f"{name}.in")
    text = (repository / "images" / "export" / f"{name}.lock").read_text(encoding="utf-8")
    for entry in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text
    assert "index" not in text


def test_the_guides_pins_are_locked(repository: Path) -> None:
    locked = {k: v for name in LOCKS for k, v in pins(repository, f"{name}.lock").items()}
    assert {name: locked[name] for name in GUIDE} == GUIDE
    assert locked["torchvision"] == "0.8.1"


# Without Docker


@pytest.fixture
def build_env(repository: Path) -> Path:
    return repository / "images" / "export" / "build-env"


@pytest.fixture
def python37() -> Path:
    found = stand_in_base.interpreter("3.7")
    if found is None:
        pytest.skip("no Python 3.7 tree below ~/.pyenv/versions")
    return found / "bin" / "python3.7"


def fails(*command: str | Path, **environment: str) -> str:
    """What a command that must end with exit code 2 says."""
    done = subprocess.run(
        list(map(str, command)),
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "next:" in done.stderr
    return done.stderr


def test_no_python37_is_said(build_env: Path, tmp_path: Path) -> None:
    said = fails(build_env, "python-that-is-not-there", tmp_path / "new")
    assert "there is no 'python-that-is-not-there'" in said
    assert "PYTHON37=" in said


def test_another_python_is_refused(build_env: Path, tmp_path: Path) -> None:
    said = fails(build_env, tmp_path / "new", PYTHON37=sys.executable)
    assert f"is Python {sys.version_info.major}.{sys.version_info.minor}" in said
    assert not (tmp_path / "new").exists()


def test_a_folder_of_somebody_else_is_left_alone(
    build_env: Path, tmp_path: Path, python37: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert "is not a virtual environment" in fails(build_env, python37, tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_no_compiler_is_said_before_anything_is_fetched(
    repository: Path, build_env: Path, tmp_path: Path, python37: Path
) -> None:
    # A checkout of its own: this one may hold compiled wheels already.
    copy = tmp_path / "images" / "export"
    copy.mkdir(parents=True)
    for path in (build_env, *(build_env.parent / f"{name}.lock" for name in LOCKS)):
        shutil.copy(path, copy)
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "sed", "cut", "cat", "dirname", "sha256sum", "tr", "ls"):
        (programs / name).symlink_to(shutil.which(name) or name)
    said = fails(copy / "build-env", python37, tmp_path / "new", PATH=str(programs))
    assert "there is no g++" in said
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "build").exists()


def test_an_environment_that_stands_is_kept(
    build_env: Path, tmp_path: Path, python37: Path
) -> None:
    locks = b"".join((build_env.parent / f"{name}.lock").read_bytes() for name in LOCKS)
    (tmp_path / "pyvenv.cfg").touch()
    (tmp_path / "ready").write_text(hashlib.sha256(locks).hexdigest() + "\n")
    done = subprocess.run(
        [build_env, python37, tmp_path], capture_output=True, text=True, check=True
    )
    assert "is up to date" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pyvenv.cfg", "ready"]


@pytest.fixture
def checkout(repository: Path, build_env: Path, tmp_path: Path) -> Path:
    """A checkout of its own that holds build-env, the locks and two wheels, of no use."""
    copy = tmp_path / "checkout" / "images" / "export"
    copy.mkdir(parents=True)
    for path in (build_env, *(build_env.parent / f"{name}.lock" for name in LOCKS)):
        shutil.copy(path, copy)
    wheels = tmp_path / "checkout" / "build" / "wheels" / "export"
    wheels.mkdir(parents=True)
    for name in ("mmcv_full-1.2.4", "mmpycocotools-12.0.3"):
        (wheels / f"{name}-cp37-cp37m-linux_x86_64.whl").touch()
    return tmp_path / "checkout"


def test_an_environment_that_cannot_be_made_leaves_nothing(
    checkout: Path, tmp_path: Path, python37: Path
) -> None:
    old = tmp_path / "environment"
    old.mkdir()
    (old / "pyvenv.cfg").touch()  # as `kill -9` leaves it: no stamp
    said = fails(
        checkout / "images/export/build-env", python37, old, PIP_NO_INDEX="1", PIP_FIND_LINKS=""
    )
    assert "requirements-tools.lock cannot be installed" in said
    assert not old.exists()
    assert len(list((checkout / "build/wheels/export").iterdir())) == 2


def test_ctrl_c_leaves_nothing(checkout: Path, tmp_path: Path, python37: Path) -> None:
    new = tmp_path / "environment"
    with web_server.running() as server:
        # pip waits for an index that never answers whole.
        index = server.serve("/", web_server.stall(b"<html></html>", 1))
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": index, "PIP_DEFAULT_TIMEOUT": "3600"}
        process = subprocess.Popen(
            [checkout / "images/export/build-env", python37, new],
            env={**os.environ, **pip},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        while not server.log and process.poll() is None:
            time.sleep(0.05)
        assert (new / "bin" / "python").exists()
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate()
    assert process.returncode == 130, said
    assert not new.exists()
    assert len(list((checkout / "build/wheels/export").iterdir())) == 2


# The self-check


def self_check(python: Path, folder: Path) -> tuple[int, str]:
    done = subprocess.run(
        [python, folder / "selfcheck.py"], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.export
def test_the_self_check_passes(repository: Path, export_python: Path) -> None:
    code, said = self_check(export_python, repository / "images" / "export")
    assert code == 0, said
    assert "FAIL" not in said
    assert said.count("ok ") == 8


@pytest.mark.export
def test_the_self_check_finds_what_is_wrong(
    repository: Path, export_python: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    shutil.copytree(repository / "images" / "export", folder)
    lock = folder / "requirements.lock"
    lock.write_text(lock.read_text().replace("onnx==1.7.0", "onnx==1.8.0") + "absent==1.0\n")
    # Offsets read as x0, y0: the order of another framework.
    deform = folder / "exporter" / "deform.py"
    swapped = "offset.reshape(len(offset), -1, 2, *offset.shape[2:]).flip(2).reshape(offset.shape)"
    text = deform.read_text()
    assert text.count("x, offset, weight, stride=stride") == 1
    deform.write_text(
        text.replace("x, offset, weight, stride=stride", f"x, {swapped}, weight, stride=stride")
    )
    code, said = self_check(export_python, folder)
    assert code == 1
    assert "onnx: 1.7.0, locked is 1.8.0" in said
    assert "absent: not installed" in said
    assert "with x offsets of a pixel, off by" in said
    assert "ok    modules load" in said


# The image


def test_its_bases_have_names_of_their_own(repository: Path) -> None:
    """A run builds this image beside the target's, which stands on another Python."""
    folder = repository / "compose"

    def bases(**variables: str) -> dict[str, str]:
        service = compose.load(folder / "export.yaml", variables)["export"]
        assert service.build is not None
        found = images.recipe(service.image, service.build, folder, variables).arguments
        # A lock of the bases' digests adds those.
        return {name: found[name].split("@")[0] for name in ("BUILD_IMAGE", "BASE_IMAGE")}

    text = (repository / "images" / "export" / "Dockerfile").read_text()
    declared = dict(re.findall(r"^ARG (\w+)=(python:.*)$", text, re.MULTILINE))
    assert bases(BASE_IMAGE="python:3.11") == declared
    given = bases(EXPORT_BUILD_IMAGE="mirror/a:1", EXPORT_BASE_IMAGE="mirror/b:1")
    assert given == {"BUILD_IMAGE": "mirror/a:1", "BASE_IMAGE": "mirror/b:1"}


@pytest.fixture(scope="module")
def wheels(repository: Path) -> Path:
    """The wheelhouse that build-env leaves: the locks' files and the two compiled wheels."""
    folder = repository / "build" / "wheels" / "export"
    names = {path.name.lower().replace("-", "_").split("_1")[0] for path in folder.glob("*.whl")}
    if not any(name.startswith("torch") for name in names) or not list(folder.glob("mmcv_full-*")):
        pytest.skip("build/wheels/export is not filled; make export-env fills it")
    return folder


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateEngine]:
    reason = docker_engine.missing() or stand_in_base.missing("3.7")
    if reason:
        pytest.skip(reason)
    tar = stand_in_base.build("3.7", tmp_path_factory.mktemp("base") / "base.tar")
    with docker_engine.private_engine() as engine:
        stand_in_base.load(shutil.which("docker") or "docker", engine.host, tar, BASE)
        yield engine


def build(engine: PrivateEngine, repository: Path, wheels: str) -> subprocess.CompletedProcess[str]:
    """Builds the image as it is, from the stand-in base, without a network."""
    command, environment = images.command()
    arguments = {
        "BUILD_IMAGE": BASE,
        "BASE_IMAGE": BASE,
        "WHEELS": wheels,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": "/wheels",
    }
    return subprocess.run(
        [
            *(*command, "--host", engine.host, "build", "--network=none", "--tag", IMAGE),
            *(
                part
                for name, value in arguments.items()
                for part in ("--build-arg", f"{name}={value}")
            ),
            *("--file", "images/export/Dockerfile", "."),
        ],
        cwd=repository,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def image(engine: PrivateEngine, repository: Path, wheels: Path) -> str:
    done = build(engine, repository, str(wheels.relative_to(repository)))
    assert done.returncode == 0, done.stdout[-4000:]
    return IMAGE


def run(
    engine: PrivateEngine, image: str, *command: str, options: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Runs a command in the image with as little as compose/export.yaml gives it."""
    docker = shutil.which("docker") or "docker"
    limits = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
    return subprocess.run(
        [
            *(docker, "--host", engine.host, "run", "--rm", "--network=none", *limits),
            *("--tmpfs=/tmp:size=256m,mode=1777", *options, image, *command),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.docker
@pytest.mark.export
def test_the_image_checks_itself(engine: PrivateEngine, image: str) -> None:
    done = run(engine, image)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 8


@pytest.mark.docker
@pytest.mark.export
def test_the_image_runs_as_nobody_special_and_without_the_compiler(
    engine: PrivateEngine, image: str
) -> None:
    done = run(engine, image, "python3", "-c", INSIDE)
    found = json.loads(done.stdout)
    assert found == {"uid": 1000, "programs": [], "left": [], "tools": [], "compiled": 0}


@pytest.mark.docker
@pytest.mark.export
def test_the_image_describes_itself(engine: PrivateEngine, image: str) -> None:
    docker = shutil.which("docker") or "docker"
    done = subprocess.run(
        [docker, "--host", engine.host, "inspect", image], capture_output=True, check=True
    )
    (described,) = json.loads(done.stdout)
    labels = described["Config"]["Labels"]
    assert labels["io.cascadeport.image"] == "export"
    assert labels["org.opencontainers.image.title"] == IMAGE
    assert described["Config"]["User"] == "1000:1000"


@pytest.mark.docker
@pytest.mark.export
def test_the_image_exports_a_detector(engine: PrivateEngine, image: str, tmp_path: Path) -> None:
    generate(tmp_path / "scenes", 5, 1)
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(0o777)
    mounts = (f"--volume={tmp_path / 'scenes' / 'val2017'}:/data:ro", f"--volume={out}:/out")
    done = run(
        engine,
        image,
        *("python3", "-m", "exporter", "--config", "configs/demo.py", "--random-weights", "1"),
        *("--shape", "256", "256", "--pictures", "/data/*", "--out", "/out"),
        options=mounts,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((out / "export.json").read_text())
    neutral = (out / "neutral.onnx").read_bytes()
    assert record["neutral"]["sha256"] == hashlib.sha256(neutral).hexdigest()
    assert record["environment"]["torch"].startswith("1.7.0")


@pytest.fixture
def behind_a_wall(
    engine: PrivateEngine, repository: Path, wheels: Path, tmp_path: Path
) -> dict[str, str]:
    """What a user sets who has bases and wheels, and no network."""
    reason = stand_in_base.missing("3.11")
    if reason:
        pytest.skip(reason)
    base = "stand-in/python311"
    tar = stand_in_base.build("3.11", tmp_path / "base.tar")
    stand_in_base.load(shutil.which("docker") or "docker", engine.host, tar, base)
    download("cpu", FOLDER / "cpu", platform.machine())
    return {
        "DOCKER_HOST": engine.host,
        "BUILD_NETWORK": "none",
        "BASE_IMAGE": base,
        "EXPORT_BUILD_IMAGE": BASE,
        "EXPORT_BASE_IMAGE": BASE,
        "WHEELS": FOLDER.relative_to(repository).as_posix(),
    }


@pytest.mark.docker
@pytest.mark.export
def test_the_pipeline_exports_in_a_container(
    behind_a_wall: dict[str, str], image: str, repository: Path, tmp_path: Path
) -> None:
    """From the checkpoint and from random weights; and what is wrong is said from inside."""
    world = World(tmp_path, repository, tmp_path / "no environment", behind_a_wall)
    card = world.card("contained", f'path = "{world.checkpoint}"\nconfig = "demo"')
    docker = ("--engine", "docker")
    said = world.passes("--model", card, *docker)
    assert "export contained to the neutral graph" in said
    world.passes("--model", "demo")
    committed, found = world.detections("demo"), world.detections("contained", "cpu-docker")
    assert sorted(found) == sorted(committed)
    for picture, expected in committed.items():
        assert compare(str(picture), False, expected, found[picture]).passed

    world.passes("--model", "demo", "--random-weights", "1", *docker)
    assert world.row("demo-random1")["status"] == "measured"

    cut = tmp_path / "cut.pth"
    cut.write_bytes(world.checkpoint.read_bytes()[:-1000])
    card = world.card("cut", f'path = "{cut}"\nconfig = "demo"')
    assert "truncated, or not a PyTorch checkpoint" in world.fails(3, "--model", card, *docker)


@pytest.mark.docker
@pytest.mark.export
def test_a_file_that_is_not_the_locked_one_is_refused(
    engine: PrivateEngine, repository: Path, wheels: Path
) -> None:
    other = wheels.with_name(f"export-test-{os.getpid()}")
    other.mkdir()
    try:
        for name in ("Cython-", "ninja-", "pip-", "setuptools-", "wheel-"):
            for path in wheels.glob(f"{name}*.whl"):
                shutil.copy(path, other)
        (wheel,) = other.glob("wheel-*.whl")
        with wheel.open("ab") as file:
            file.write(b"more")
        done = build(engine, repository, str(other.relative_to(repository)))
    finally:
        shutil.rmtree(other)
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stdout
