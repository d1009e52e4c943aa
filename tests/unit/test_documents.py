"""What the documents point to exists: links, anchors, and paths of the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

LINK = re.compile(r"\]\(([^)\s]+)\)")
ROOTS = "scripts|bundle|images|compose|models|tests|benchmarks|docs"
PATH = re.compile(rf"(?<![\w./-])((?:{ROOTS})/[\w./-]*\w)(?![\w*<…=]|/[<*…])")
# Placeholders, and what a command writes.
PLACEHOLDERS = {"NAME", "TARGET", "BACKEND", "RUNNER", "test_BACKEND"}
WRITTEN = {"images/bases.lock"}


MODULE = re.compile(r"`(\w+\.py)`")
# Files of CANN's published sources.
ELSEWHERE = {"deformable_offsets.py", "roi_extractor.py"}


def documents(repository: Path) -> list[Path]:
    """All Markdown files of the checkout."""
    folders = ("docs", "bundle", "images")
    found = [path for folder in folders for path in (repository / folder).rglob("*.md")]
    return sorted([*repository.glob("*.md"), *found])


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub forms them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in headings}


def test_links_lead_somewhere(repository: Path) -> None:
    broken = []
    for document in documents(repository):
        for link in LINK.findall(document.read_text(encoding="utf-8")):
            if link.startswith(("http://", "https://")):
                continue
            name, _, anchor = link.partition("#")
            target = (document.parent / name).resolve() if name else document
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{document.relative_to(repository)}: {link}")
    assert not broken


def test_named_paths_exist(repository: Path) -> None:
    missing = []
    for document in [*documents(repository), repository / "targets.toml"]:
        for name in sorted(set(PATH.findall(document.read_text(encoding="utf-8"))) - WRITTEN):
            if PLACEHOLDERS & {part.split(".")[0] for part in name.split("/")}:
                continue
            if not (repository / name).exists():
                missing.append(f"{document.relative_to(repository)}: {name}")
    assert not missing


def test_named_modules_exist(repository: Path) -> None:
    folders = (repository / name for name in ROOTS.split("|"))
    present = {path.name for folder in folders for path in folder.rglob("*.py")}
    unknown = []
    for document in documents(repository):
        named = set(MODULE.findall(document.read_text(encoding="utf-8")))
        unknown += [f"{document.name}: {name}" for name in named - present - ELSEWHERE]
    assert not sorted(unknown)


@pytest.mark.parametrize("name", ["all", "test"])
def test_the_readme_s_two_commands_are_the_makefile_s(repository: Path, name: str) -> None:
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert f"make {name}\n" in readme.split("```")[1]
    done = subprocess.run(
        ["make", "--dry-run", name], cwd=repository, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
