"""History as a build server meets it: runs are kept, and a worse one ends with another code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.helpers import small_world


@dataclass
class World:
    """A card, pictures and folders of their own."""

    root: Path
    repository: Path

    def run(self, name: str, *more: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(self.repository / "scripts"), str(self.repository)])
        command = [sys.executable, "-m", "cascadeport", name]
        command += ["--model", str(self.root / "small.toml"), "--data", str(self.root / "data")]
        command += ["--build", str(self.root / "build"), "--results", str(self.root / "results")]
        done = subprocess.run(
            [*command, *more],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done


@pytest.fixture
def world(tmp_path: Path, repository: Path) -> World:
    small_world.dataset(tmp_path / "data", count=24)
    small_world.card(tmp_path)
    return World(tmp_path, repository)


def test_a_worse_run_ends_with_9_unless_that_was_expected(world: World, tmp_path: Path) -> None:
    good = world.run("all")
    assert "verdict  CPU, onnxruntime: it is the reference" in good.stderr
    runs = json.loads(world.run("history", "--json").stdout)
    assert [list(run["rows"]) for run in runs] == [["cpu"]]
    assert "'previous'" in world.run("compare", "--against", "previous", code=2).stderr
    # The reference of a card that knows its accuracy, and a network that has lost it.
    card = small_world.card(tmp_path, box=[8.0, 12.0, 34.0, 44.0])
    text = '[reference]\nmap = 1.0\nsource = "the first network"\ndata = "data"\n'
    card.write_text(card.read_text() + text)
    bad = world.run("all", code=6)
    assert "FAIL     CPU, onnxruntime: mAP is −" in bad.stderr
    assert "from published accuracy (1.0000)" in bad.stderr
    listed = world.run("history").stdout
    assert listed.count("| cpu |") == 2
    assert listed.index("FAIL") < listed.index(runs[0]["id"][:12])
    # A build server asks whether it is worse than before; it is told what, and by the code.
    out = tmp_path / "out.xml"
    done = world.run("compare", "--against", runs[0]["id"][:8], "--export", str(out), code=9)
    assert "WORSE    CPU, onnxruntime: mAP regressed: 1.0000 to 0." in done.stderr
    failed = {
        case.get("name")
        for case in ElementTree.parse(out).iter("testcase")
        if case.find("failure") is not None
    }
    # So small a network is as fast as the machine is idle: speeds may differ as well.
    assert {"accuracy", "verdict regressed", "map regressed"} <= failed
    expected = tmp_path / "expected.toml"
    expected.write_text('[[expected]]\nrow = "cpu"\nreason = "the smaller network"\n')
    words = ["--expected", str(expected), "--export", str(tmp_path / "out.md")]
    done = world.run("compare", "--against", "previous", *words)
    assert "expected CPU, onnxruntime: mAP regressed" in done.stderr
    assert "; the smaller network" in done.stderr
    assert (tmp_path / "out.md").read_text().startswith("### No worse than run ")
    # Another folder of results, such as one that a build server kept.
    kept = world.run("compare", "--against", str(tmp_path / "results" / "small-data"))
    assert "nothing is missing or worse" in kept.stderr


def test_what_has_no_meaning_is_refused_before_anything_is_compared(
    world: World, tmp_path: Path
) -> None:
    told = world.run("compare", "--export", str(tmp_path / "x.sarif"), code=2).stderr
    assert "'.sarif', which is no form of export" in told
    told = world.run("compare", "--expected", str(tmp_path / "x.toml"), code=2).stderr
    assert "--expected has no meaning without an earlier run" in told
    assert not (tmp_path / "results").exists()


def test_a_row_whose_stage_fails_is_marked_until_it_succeeds(world: World, tmp_path: Path) -> None:
    world.run("all")
    broken = tmp_path / "data" / "val2017" / "3.jpg"
    content = broken.read_bytes()
    broken.write_bytes(b"no picture")
    world.run("all", code=3)
    path = tmp_path / "results" / "small-data" / "comparison.json"
    (row,) = json.loads(path.read_text())["rows"]
    assert (row["status"], row["verdict"]) == ("invalid", "fail")
    assert row["reason"].startswith("its last run failed: ")
    broken.write_bytes(content)
    world.run("all")
    (row,) = json.loads(path.read_text())["rows"]
    assert row["status"] == "measured"
