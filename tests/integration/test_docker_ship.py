"""Installing shipments into real engines: what is put in use, what is kept, and what is refused.

The shipments are real and small (tests/helpers/shipments.py); frozen targets are in
test_docker_freeze.py.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cascadeport.ship import manifest, signature

from tests.helpers import docker_fixtures, podman, shipments
from tests.helpers.docker_engine import PrivateEngine, private_engine
from tests.helpers.podman import Podman
from tests.helpers.shipments import World

pytestmark = pytest.mark.docker

REPOSITORY = "cascadeport/small-cpu"
BULK = random.Random(1).randbytes(12_000_000)
SHELLS = (["dash"], ["busybox", "sh"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    docker_fixtures.require()
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed (apt-get install zstd)")
    return shipments.world(tmp_path_factory)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shipments.key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="module")
def first(world: World, key: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.pack(tmp_path_factory.mktemp("dist"), key, BULK, b"one", version="1")


@pytest.fixture(scope="module")
def update(world: World, key: Path, first: Path) -> Path:
    """The second version, as an update of the first: the bulk is not in it."""
    folder = world.pack(first.parent, key, BULK, b"two", version="2", former=manifest.load(first))
    size = sum(path.stat().st_size for path in (folder / "image").iterdir())
    assert size < 3_000_000
    return folder


@pytest.fixture
def engine() -> Iterator[PrivateEngine]:
    """An empty engine."""
    with private_engine() as found:
        yield found


def script(
    folder: Path, name: str, *words: str, shell: list[str] = SHELLS[0], **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*shell, str(folder / name), *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def install(
    folder: Path, key: Path, engine: PrivateEngine, **more: str
) -> subprocess.CompletedProcess[str]:
    return script(
        folder, "install", signature.fingerprint(key), **{"DOCKER_HOST": engine.host, **more}
    )


def docker(engine: PrivateEngine, *words: str) -> str:
    command = ["docker", "--host", engine.host, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def in_use(engine: PrivateEngine, tag: str = "current") -> str:
    return docker(engine, "image", "inspect", "--format", "{{.Id}}", f"{REPOSITORY}:{tag}")


def image(folder: Path) -> str:
    return manifest.load(folder).image.id


def test_from_an_empty_engine_to_an_update_and_back(
    engine: PrivateEngine, first: Path, update: Path, key: Path, tmp_path: Path
) -> None:
    done = install(first, key, engine, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Verified")
    assert "self-test of selftest" in lines
    assert lines[-1].startswith(f"Installed {REPOSITORY}:1-forced. Next: ")
    assert "FORCED: Nobody signed the run." in done.stderr
    assert in_use(engine) == in_use(engine, "1-forced") == image(first)

    again = install(first, key, engine, TMPDIR=str(tmp_path))
    assert again.returncode == 0, again.stderr
    assert "The engine has this image already." in again.stdout
    assert in_use(engine, "previous") == ""

    done = install(update, key, engine, TMPDIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert in_use(engine) == image(update)
    assert in_use(engine, "previous") == image(first)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"

    for expected in (first, update):
        done = script(update, "rollback", DOCKER_HOST=engine.host, shell=SHELLS[1])
        assert done.returncode == 0, done.stderr
        assert f"In use now: {REPOSITORY}:{manifest.load(expected).version}" in done.stdout
        assert in_use(engine) == image(expected)


def test_an_update_without_what_it_builds_on(
    engine: PrivateEngine, first: Path, update: Path, key: Path
) -> None:
    done = install(update, key, engine)
    assert done.returncode == 1
    assert "does not have 1-forced, which this update builds on" in done.stderr
    assert docker(engine, "images", "--quiet") == ""
    # The former shipment is as good as the former image.
    done = install(update, key, engine, FORMER=str(first.relative_to("/")))
    assert done.returncode == 0, done.stderr
    assert in_use(engine) == image(update)
    done = script(update, "rollback", DOCKER_HOST=engine.host)
    assert done.returncode == 1
    assert "no former version" in done.stderr


def test_a_former_shipment_with_other_layers(
    engine: PrivateEngine, world: World, update: Path, key: Path, tmp_path: Path
) -> None:
    other = world.pack(tmp_path, key, b"something else", version="1")
    done = install(update, key, engine, FORMER=str(other))
    assert done.returncode == 1
    assert "lacks layer" in done.stderr
    assert docker(engine, "images", "--quiet") == ""


def test_an_image_that_fails_its_self_test_is_not_used(
    engine: PrivateEngine, world: World, first: Path, key: Path, tmp_path: Path
) -> None:
    assert install(first, key, engine).returncode == 0
    bad = world.pack(tmp_path, key, b"bad", version="3", ends=1)
    done = install(bad, key, engine)
    assert done.returncode == 1
    assert "its self-test failed" in done.stderr
    assert in_use(engine) == image(first)
    assert in_use(engine, "previous") == ""


def test_no_space_is_told_before_and_while_loading(world: World, key: Path, tmp_path: Path) -> None:
    """An engine whose disk is full: nothing is put in use, and what was in use stays."""
    disk = tmp_path / "disk"
    disk.mkdir()
    small = world.pack(tmp_path, key, b"small", version="4")
    large = world.pack(tmp_path, key, BULK, BULK[:8_000_000], version="5")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(disk)], check=True)
    try:
        engine = PrivateEngine(Path(tempfile.mkdtemp(prefix="cpe-")), data_root=disk)
        engine.start()
        try:
            assert install(small, key, engine).returncode == 0
            done = install(large, key, engine)
            assert done.returncode == 1
            assert "there is no room for the image" in done.stderr
            # Where the disk cannot be looked at, it is the engine that says so.
            wrapper = tmp_path / "docker"
            wrapper.write_text(
                '#!/bin/sh\ncase "$*" in *DockerRootDir*) echo /nowhere;; *) '
                f'exec {shutil.which("docker")} "$@";; esac\n'
            )
            wrapper.chmod(0o755)
            done = install(large, key, engine, ENGINE=str(wrapper))
            assert done.returncode == 1
            assert "did not take the image" in done.stderr
            assert "no space left" in done.stderr
            assert in_use(engine) == image(small)
            assert in_use(engine, "5-forced") == ""
        finally:
            engine.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def without(tmp_path: Path, *programs: str) -> str:
    """A PATH that lacks some programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for path in sorted(Path(place).iterdir()) if Path(place).is_dir() else ():
            if path.name not in programs and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    return str(folder)


def test_an_engine_that_cannot_read_zstd(
    engine: PrivateEngine, world: World, first: Path, key: Path, tmp_path: Path
) -> None:
    """Docker 20.10, and no program zstd: said before anything is loaded; gzip needs neither."""
    version = docker(engine, "version", "--format", "{{.Server.Version}}")
    path = without(tmp_path, "zstd")
    done = install(first, key, engine, PATH=path)
    if int(version.split(".")[0]) < 23:
        assert done.returncode == 1
        assert "this needs the program zstd here" in done.stderr
        assert docker(engine, "images", "--quiet") == ""
    else:
        assert done.returncode == 0, done.stderr
    packed = world.pack(tmp_path, key, b"gzip", version="6", compression="gzip")
    done = install(packed, key, engine, PATH=path)
    assert done.returncode == 0, done.stderr
    assert in_use(engine) == image(packed)


def test_engines_that_do_not_answer(first: Path, key: Path, tmp_path: Path) -> None:
    word = signature.fingerprint(key)
    nowhere = f"unix://{tmp_path}/nothing.sock"
    done = script(first, "install", word, ENGINE="docker", DOCKER_HOST=nowhere)
    assert done.returncode == 1
    assert "docker does not answer" in done.stderr
    done = script(first, "install", word, DOCKER_HOST=nowhere, PATH=without(tmp_path, "podman"))
    assert done.returncode == 1
    assert "neither docker nor podman answers" in done.stderr


@pytest.fixture
def other_engine() -> Iterator[Podman]:
    reason = podman.missing()
    if reason:
        pytest.skip(reason)
    with podman.private() as found:
        yield found


def test_podman_takes_the_same_shipments(
    other_engine: Podman, first: Path, update: Path, key: Path
) -> None:
    env = {"ENGINE": str(other_engine.program)}
    for folder, shell in ((first, SHELLS[1]), (update, SHELLS[0])):
        done = script(folder, "install", signature.fingerprint(key), shell=shell, **env)
        assert done.returncode == 0, done.stderr
        found = other_engine("image", "inspect", "--format", "{{.Id}}", f"{REPOSITORY}:current")
        assert f"sha256:{found.strip()}" == image(folder)
    assert script(update, "rollback", **env).returncode == 0
    found = other_engine("image", "inspect", "--format", "{{.Id}}", f"{REPOSITORY}:current")
    assert f"sha256:{found.strip()}" == image(first)
