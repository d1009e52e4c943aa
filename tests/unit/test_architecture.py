"""docs/architecture.md names what is there, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEADING = re.compile(r"^### `(.+)/`$", re.MULTILINE)
MODULE = re.compile(r"^- `(\w+\.py)`: \S", re.MULTILINE)
PATH = re.compile(r"`((?:bundle|images|compose|models|scripts|tests|benchmarks|\.ci)/[\w./-]*)`")


@pytest.fixture(scope="module")
def document(repository: Path) -> str:
    return (repository / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_module_is_named_and_every_named_module_exists(
    repository: Path, document: str
) -> None:
    parts = HEADING.split(document.split("<!-- /modules -->")[0])
    named = {
        f"{folder}/{module}"
        for folder, text in zip(parts[1::2], parts[2::2], strict=True)
        for module in MODULE.findall(text)
    }
    present = {
        path.relative_to(repository).as_posix()
        for package in ("scripts/cascadeport", "bundle")
        for path in (repository / package).rglob("*.py")
    }
    assert named == present


def test_every_package_is_in_a_row(repository: Path, document: str) -> None:
    section = document.split("<!-- packages -->")[1].split("<!-- /packages -->")[0]
    named = set(re.findall(r"^\| \d+ \| `(\w+)` \| \S", section, re.MULTILINE))
    folders = {path.parent.name for path in repository.glob("scripts/cascadeport/*/__init__.py")}
    assert named == folders | {"__main__"}


def test_every_image_is_named_and_every_named_path_exists(repository: Path, document: str) -> None:
    named = {path.rstrip("/") for path in PATH.findall(document)}
    assert not sorted(path for path in named if not (repository / path).exists())
    folders = {path.name for path in (repository / "images").iterdir() if path.is_dir()}
    assert folders <= {path.split("/")[1] for path in named if path.startswith("images/")}


def test_the_generated_sections_are_up_to_date(repository: Path) -> None:
    done = _generate(repository, "--check")
    assert done.returncode == 0, done.stderr


def test_a_new_module_is_noticed_and_written(repository: Path, tmp_path: Path) -> None:
    for name in ("bundle", "scripts", "docs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(repository / name, tmp_path / name, ignore=ignored)
    shutil.copy(repository / "pyproject.toml", tmp_path)
    (tmp_path / "bundle" / "zebra.py").write_text('"""Stripes, in black and white."""\n')
    assert _generate(tmp_path, "--check").returncode == 1
    assert _generate(tmp_path).returncode == 0
    text = (tmp_path / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert "- `zebra.py`: Stripes, in black and white.\n" in text
    (tmp_path / "bundle" / "zebra.py").write_text("")
    assert "bundle/zebra.py has no docstring" in _generate(tmp_path).stderr


def _generate(root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs the generator of the checkout at `root`."""
    command = [sys.executable, str(root / "scripts" / "architecture"), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)
