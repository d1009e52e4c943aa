"""The bundle as a thing: its digest, its self-check, its syntax and what it imports."""

from __future__ import annotations

import ast
import shutil
import sys
from pathlib import Path

import pytest

import bundle
from bundle import digest, preprocess
from bundle.selfcheck import selfcheck
from tests.helpers import bundle_jobs as jobs

FOLDER = Path(bundle.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
OUTSIDE = {"cv2", "numpy"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_file_is_python_3_7(path: Path) -> None:
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 7))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_nothing_but_numpy_opencv_and_a_runtime_is_imported(path: Path) -> None:
    """A runner's folder bears its runtime's name, and only there may that be imported.

    Only the server needs something else: h11, for its connections.
    """
    parts = path.relative_to(FOLDER).parts
    runtime = {parts[1]} if parts[0] == "runners" and len(parts) == 3 else set()
    if parts == ("frozen", "serve", "connection.py"):
        runtime = {"h11"}
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
    assert names <= OUTSIDE | runtime | {"bundle"} | set(sys.stdlib_module_names)


def test_the_digest_follows_names_and_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "bundle"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(digest, "__file__", str(copy / "digest.py"))
    first = digest.bundle_digest()
    (copy / "README.md").write_text("another text")
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert digest.bundle_digest() == first
    (copy / "draw.py").rename(copy / "paint.py")
    renamed = digest.bundle_digest()
    with (copy / "runners" / "onnxruntime" / "session.py").open("a") as stream:
        stream.write("#")
    assert len({first, renamed, digest.bundle_digest()}) == 3


def test_the_self_check_passes_and_says_what_is_there() -> None:
    done = jobs.call("selfcheck")
    assert done.returncode == 0
    (event,) = jobs.events(done.stdout)
    assert event["event"] == "selfcheck"
    assert event["ok"] is True
    assert event["bundle"] == digest.bundle_digest()
    assert set(event["versions"]) == {"python", "numpy", "opencv"}
    assert event["runtimes"]["onnxruntime"]


def test_the_self_check_notices_wrong_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    right = preprocess._table
    monkeypatch.setattr(preprocess, "_table", lambda mean, std: right(mean + 1, std))
    result = selfcheck()
    assert result["ok"] is False
    assert [one["ok"] for one in result["checks"]] == [True, True, False, True]


def test_a_command_that_does_not_exist() -> None:
    done = jobs.call("jump")
    assert done.returncode == 2
    assert "invalid choice" in done.stderr
