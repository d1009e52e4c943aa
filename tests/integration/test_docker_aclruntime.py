"""aclruntime's recipe: the image compiles it from an archive of its sources, and runs it.

CANN is a stub here (tests/helpers/stub_cann): its headers, and libraries with the functions that
aclruntime's sources call. The sources are an extension of the same shape over the same functions;
what the vendor's own did is in docs/containers.md.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cascadeport.backends.ascend import simulator, stand_in_files
from cascadeport.base import digest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import COMPOSE, REPOSITORY
from cascadeport.config import compose
from cascadeport.containers import images

from tests.helpers import docker_fixtures, stand_in_base
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.target_images import environment

pytestmark = pytest.mark.docker

STUB = REPOSITORY / "tests" / "helpers" / "stub_cann"
LIBRARIES = ("ascendcl", "acl_dvpp", "acl_cblas")
BASE = "stand-in/python-compiler:3.9"


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with docker_fixtures.started() as engine:
        yield engine


@pytest.fixture
def cann(tmp_path: Path) -> Iterator[Path]:
    """A folder as images/ascend/cann, below the build's context: stubs, aclruntime's sources."""
    # Of build/, .dockerignore lets this folder in.
    simulator.BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=simulator.BUILD, prefix="stub-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        libraries = {name: compiled(name, tmp_path) for name in LIBRARIES}
        headers = stand_in_files.tree(STUB / "include", "x86_64-linux/include")
        stubs = [(f"x86_64-linux/lib64/stub/lib{n}.so", c, 0o644) for n, c in libraries.items()]
        real = [(f"lib64/lib{name}.so", content, 0o644) for name, content in libraries.items()]
        for kind, home, files in (
            ("toolkit", "ascend-toolkit", [*headers, *stubs]),
            ("nnrt", "nnrt", real),
        ):
            name = f"Ascend-cann-{kind}_5.1.RC2_linux-x86_64.run"
            content = stand_in_files.installer(home, "5.1.RC2", files)
            (folder / name).write_bytes(content)
        (folder / "aclruntime-63a74de.tar.gz").write_bytes(sources())
        record(folder)
        yield folder


def compiled(name: str, folder: Path) -> bytes:
    """A stub library."""
    out = folder / f"lib{name}.so"
    command = ["gcc", "-shared", "-fPIC", "-O1", f"-I{STUB / 'include'}", str(STUB / "ascendcl.c")]
    command += [f"-Wl,-soname,{out.name}", "-o", str(out)]
    subprocess.run(command, check=True)
    return out.read_bytes()


def sources() -> bytes:
    """The archive as a repository's host packs a revision."""
    plain = io.BytesIO()
    root = "tools-63a74de5cec35aa072a230c15823205d01e0771b/ais-bench_workload/tool/ais_infer"
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name in ("aclruntime.cpp", "pyproject.toml", "setup.py"):
            tar.add(STUB / "backend" / name, f"{root}/backend/{name}")
        tar.add(REPOSITORY / "images/simulator/ais_infer/ais_infer.py", f"{root}/ais_infer.py")
    return gzip.compress(plain.getvalue(), 1, mtime=0)


def record(folder: Path) -> None:
    """What a user does who trusts the files."""
    files = sorted(path for path in folder.iterdir() if path.suffix in (".run", ".gz"))
    lines = [f"{digest.of_file(path)}  {path.name}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(lines))


def build(engine: PrivateEngine, cann: Path, base: str, folder: Path) -> str:
    """Builds the runtime image of the 310P; returns its id."""
    variables = {
        **environment(engine, "310P3"),
        "CANN": cann.relative_to(REPOSITORY).as_posix(),
        "BASE_IMAGE": base,
    }
    service = compose.load(COMPOSE / "ascend310p.yaml", variables)["infer"]
    assert service.build is not None
    recipe = images.recipe("test/aclruntime", service.build, COMPOSE, variables)
    host = ["--host", engine.host]
    return images.build(recipe, host, {}, folder / "build.log", lambda event: None)


def test_the_image_compiles_aclruntime_and_runs_it(
    engine: PrivateEngine, cann: Path, tmp_path: Path
) -> None:
    import docker

    reason = stand_in_base.missing("3.9") or stand_in_base.missing_compiler()
    if reason:
        pytest.skip(reason)
    tar = stand_in_base.build("3.9", tmp_path / "base.tar", compiler=True)
    stand_in_base.load("docker", engine.host, tar, BASE)
    tar.unlink()
    image = build(engine, cann, BASE, tmp_path)
    assert "Successfully built aclruntime" in (tmp_path / "build.log").read_text()
    shutil.copy(STUB / "run_session.py", tmp_path)
    tmp_path.chmod(0o777)
    client = docker.DockerClient(base_url=engine.host)
    try:
        printed = client.containers.run(
            image,
            ["python3", "/out/run_session.py", "/out"],
            volumes=[f"{tmp_path}:/out"],
            network_mode="none",
            remove=True,
        )
    finally:
        client.close()
    said = json.loads(next(line for line in printed.decode().splitlines() if line[:1] == "{"))
    # The sum of what the bundle sent, the first value, and the network's own numbers came back.
    assert said["box"] == [16.0, 16.0, sum(range(1, 16 * 16 * 3 + 1)) + 0.0, 1.0, 0.5]
    assert (said["labels"], said["shapes"]) == ([1, 0], [[100, 5], [100]])
    assert said["describe"]["runtime_version"] == "0.0.1"
    assert said["describe"]["device_clock"] == "execution alone, by aclruntime"
    # It says nothing of a stand-in; what it is made on names itself, and that is no proof.
    assert said["describe"]["simulated"] is False
    (proved,) = said["describe"]["device_proof"]
    assert (proved["name"], proved["driver"]) == ("a stub of libascendcl", None)


def test_without_a_compiler_the_build_says_what_to_do(
    engine: PrivateEngine, cann: Path, tmp_path: Path
) -> None:
    base = environment(engine, "310P3")["BASE_IMAGE"]
    with pytest.raises(CascadeportError, match="A step of the image") as caught:
        build(engine, cann, base, tmp_path)
    assert "There is no g++ to compile aclruntime with" in caught.value.where
