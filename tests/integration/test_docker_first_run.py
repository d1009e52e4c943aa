"""docs/first-run-on-atlas.md, followed word for word: its commands run in order in a copy of the
checkout, on a real Docker Engine, with stand-ins in place of the driver and the vendor's packages.

Two things differ from an evening with the card: where the driver is, and that a run on a stand-in
which nobody called simulated never counts as measured. What the page expects of each command is in
the block after it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cascadeport.backends.ascend import personalities, releases, simulator

from tests.helpers import docker_fixtures
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.target_images import environment

pytestmark = pytest.mark.docker

_BLOCK = re.compile(r"^```(sh no-test|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# A run on stand-ins that nobody called simulated is INVALID, and says so.
INSTEAD = {"measured": "a simulated device ran, but the run was started without"}


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with docker_fixtures.started() as engine:
        yield engine


def steps(page: str) -> list[tuple[str, list[str]]]:
    """The page's commands, a block each, and the words that are expected of it."""
    found: list[tuple[str, list[str]]] = []
    for kind, text in _BLOCK.findall(page):
        if kind == "sh":
            found.append((text, []))
        elif kind == "text":
            found[-1][1].extend(text.splitlines())
    return found


def copy_of(repository: Path, folder: Path) -> Path:
    """The checkout without what runs made of it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=repository, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for name in filter(None, listed.stdout.split("\0")):
        source, target = repository / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    # What the page's reader makes by the first `make`; and the wheels that were brought.
    (folder / ".venv").symlink_to(repository / ".venv")
    wheels = repository / "build" / "wheels"
    shutil.copytree(wheels, folder / "build" / "wheels", copy_function=_linked)
    return folder


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def test_the_page_is_followed_word_for_word(
    repository: Path, engine: PrivateEngine, tmp_path: Path
) -> None:
    wall = environment(engine, "310P3")
    cann = releases.find(None)
    stand_in = simulator.StandIn("Ascend310P3", 1, cann, personalities.name(None))
    host = simulator.prepare(stand_in, wall)
    checkout = copy_of(repository, tmp_path / "cascadeport")
    # The host: its downloads, its programs, its driver, its device nodes.
    downloads = tmp_path / "Downloads"
    shutil.copytree(host / "cann", downloads, ignore=shutil.ignore_patterns("SHA256SUMS"))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "npu-smi").symlink_to(host / "npu-smi")
    nodes = {key: value for key, value in simulator.variables(stand_in).items()
             if value == "/dev/zero"}  # fmt: skip
    env = {
        **{key: value for key, value in os.environ.items() if not key.startswith("CASCADEPORT")},
        **wall, **nodes,
        "ASCEND_DRIVER": str(host / "driver"),
        "PATH": f"{programs}{os.pathsep}{wall['PATH']}",
        "HOME": str(tmp_path),
    }  # fmt: skip
    page = (repository / "docs" / "first-run-on-atlas.md").read_text(encoding="utf-8")
    commands = steps(page)
    assert len(commands) >= 6
    for text, expected in commands:
        # The driver's place is the host's; nothing else is replaced.
        text = text.replace("/usr/local/Ascend/driver", str(host / "driver"))
        done = subprocess.run(
            ["bash", "-c", text], cwd=checkout, env=env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, timeout=1500,
        )  # fmt: skip
        said = done.stdout + done.stderr
        # Comparing pages of text is slow work for pytest's own explanation.
        missing = [words for words in expected if INSTEAD.get(words, words) not in said]
        if missing or "Traceback" in said or re.search(r"^fail ", said, re.MULTILINE):
            pytest.fail(f"{text}\nlacks {missing}:\n{said[-6000:]}", pytrace=False)
    (row,) = (checkout / "results").glob("*/310P3/result.json")
    assert '"status": "invalid"' in row.read_text(encoding="utf-8")
