"""The examples of docs/serving.md, run as they are printed there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder, own_network

# The server on its usual port, as long as the command takes.
SERVE = """
set -e
python="$1" frozen="$2"
# The last server was ready as well: its log must not be read for this one's.
: >serve.log
"$python" -m bundle.frozen --frozen "$frozen" serve 2>serve.log &
server=$!
until grep -q '^ready$' serve.log; do kill -0 $server; sleep 0.05; done
shift 2
set +e
"$@"
code=$?
kill $server
wait $server || exit 99
exit $code
"""


def examples(repository: Path, language: str) -> list[str]:
    """The code blocks of that language."""
    text = (repository / "docs" / "serving.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frozen folder called `demo`, and beside it the picture that the examples name."""
    root = tmp_path_factory.mktemp("clients")
    frozen_folder.complete(root, name="demo")
    jobs.write_picture(root / "picture.jpg", 64, 48)
    return root / "frozen"


def run(folder: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """Runs an example beside a server on port 8000, on a network of their own."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare (util-linux)")
    alone = ["unshare", "--net", "--map-root-user", sys.executable, own_network.__file__]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not allow namespaces")
    shell = ["bash", "-c", SERVE, "serve", sys.executable, str(folder)]
    return subprocess.run(
        [*alone, *shell, *map(str, command)],
        cwd=folder.parent,
        env={**jobs.environment(), "TMPDIR": str(folder.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_curl(folder: Path, repository: Path) -> None:
    (text,) = examples(repository, "sh")
    done = run(folder, "bash", "-ec", text)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["detections"]
    assert found["name"] == "red thing"
    assert max(abs(a - b) for a, b in zip(found["bbox"], (16, 16, 32, 24), strict=True)) < 2
    (folder.parent / "picture.jpg").rename(folder.parent / "kept.jpg")
    (folder.parent / "picture.jpg").write_text("no picture")
    try:
        wrong = run(folder, "bash", "-ec", text)
        assert wrong.returncode == 22
        assert "not a JPEG" in json.loads(wrong.stdout)["error"]
    finally:
        (folder.parent / "kept.jpg").rename(folder.parent / "picture.jpg")


def test_python(folder: Path, repository: Path) -> None:
    printed = set()
    for text in examples(repository, "python"):
        done = run(folder, sys.executable, "-c", text)
        assert done.returncode == 0, done.stderr
        printed.add(done.stdout)
    (line,) = printed  # the two examples say the same
    assert line.startswith("red thing 0.8999999761581421 [")


def test_cpp(folder: Path, repository: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    (text,) = examples(repository, "cpp")
    root = folder.parent
    (root / "detect.cpp").write_text(text)
    build = text.splitlines()[0].removeprefix("// ").split(" && ")[0].split()
    subprocess.run([*build, "-Wall", "-Wextra", "-Werror"], cwd=root, check=True)
    done = run(folder, *text.splitlines()[0].split(" && ")[1].split())
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["detections"]
    assert found["name"] == "red thing"
    (root / "text.jpg").write_text("no picture")
    wrong = run(folder, "./detect", "localhost", "8000", "text.jpg")
    assert (wrong.returncode, "not a JPEG" in wrong.stdout) == (1, True)
    nobody = subprocess.run(
        ["./detect", "localhost", "1", "text.jpg"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (nobody.returncode, nobody.stderr) == (2, "the server does not answer\n")
