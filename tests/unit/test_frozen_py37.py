"""The frozen program on the bundle's oldest Python: the same detections to the last byte."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers import frozen_folder
from tests.helpers.frozen_server import serving

pytestmark = pytest.mark.py37


@pytest.fixture
def h11(py37: Path) -> None:
    """The server's library in that environment."""
    done = subprocess.run([py37, "-c", "import h11"], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(".venv-py37 is older than its lock; scripts/make-py37 makes it again")


def test_all_commands(tmp_path: Path, py37: Path) -> None:
    folder = frozen_folder.complete(tmp_path)
    source = tmp_path / "pictures"
    for python, out in ((None, "here"), (py37, "there")):
        options = {"python": python} if python else {}
        arguments = ("infer", source, tmp_path / out, "--draw", "--format=coco", "--format=txt")
        done = frozen_folder.call(folder, *arguments, **options)
        assert done.returncode == 0, done.stderr
    names = [p.relative_to(tmp_path / "here") for p in (tmp_path / "here").rglob("*.json*")]
    names += [p.relative_to(tmp_path / "here") for p in (tmp_path / "here").rglob("*.txt")]
    assert len(names) == 9
    for name in names:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert (tmp_path / "there" / "drawn" / "3.jpg").exists()
    passed = frozen_folder.call(folder, "selftest", python=py37)
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert frozen_folder.call(folder, "about", "--json", python=py37).returncode == 0


@pytest.mark.usefixtures("h11")
def test_the_server(tmp_path: Path, py37: Path) -> None:
    folder = frozen_folder.complete(tmp_path)
    data = (tmp_path / "pictures" / "3.png").read_bytes()
    with serving(folder) as here, serving(folder, python=py37) as there:
        assert here.ask("/v1/detect", data).json == there.ask("/v1/detect", data).json
        name = "/v2/models/tiny-network"
        assert here.ask(name).json == there.ask(name).json
        assert there.ask("/nothing").status == 404
        assert there.ask("/").content == here.ask("/").content
        assert there.stop() == 0
