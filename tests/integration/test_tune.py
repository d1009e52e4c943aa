"""`cascadeport tune`: real searches, small ones; resumed, run again, and with forged records."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from cascadeport import datasets, scenes
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.commands import tune
from cascadeport.config.options import Options
from cascadeport.tune import bench, record, space
from cascadeport.tune.record import Frontier

from tests.helpers import small_world

# Of the demo's own pictures there are 200; a search of these takes a minute less.
_PICTURES, _SEED = 44, 5
_AXES = ("threads", "proposals")


@dataclass
class Tuned:
    """A search of the demo on a few drawn pictures, in folders of its own."""

    root: Path
    options: Options
    code: ExitCode | None = None
    printed: str = ""
    seconds: float = 0.0

    @property
    def folder(self) -> Path:
        return self.root / "results" / "demo-data"

    @property
    def record(self) -> Frontier:
        return record.load(self.folder / record.NAME)

    def run(self, **wanted: Any) -> ExitCode:
        began = time.monotonic()
        self.code = tune.tune(self.options, Reporter(), tune.Wanted(budget=0.5, **wanted))
        self.seconds = time.monotonic() - began
        return self.code

    def passes(self) -> dict[str, int]:
        """When each pass was made, by its row."""
        found = (self.root / "results").rglob("infer/run.json")
        return {str(path): path.stat().st_mtime_ns for path in found}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tuned]:
    root = tmp_path_factory.mktemp("tune")
    scenes.generate(root / "data", _PICTURES, _SEED)
    options = Options(
        model="demo",
        data=str(root / "data"),
        build=root / "build",
        results=root / "results",
        repeats=2,
    )
    made = Tuned(root, options)
    with pytest.MonkeyPatch.context() as patch:
        few = tuple(
            replace(axis, values=lambda facts: [100, 4]) if axis.option == "proposals" else axis
            for axis in space.AXES
            if axis.option in _AXES
        )
        patch.setattr(space, "AXES", few)
        # The same search, whatever is installed here.
        made.run(targets="cpu")
        yield made


def test_every_point_is_a_row_of_its_own(tuned: Tuned) -> None:
    found = tuned.record
    by_title = {one.title: one for one in found.points}
    assert {"the reference", "proposals 100", "proposals 4"} <= set(by_title)
    rows = [run.row for one in found.points for run in one.runs]
    assert len(set(rows)) == len(rows)
    for one in found.points:
        for run in one.runs:
            folder = tuned.root / "results" / run.row
            result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
            assert result["status"] == "measured"
            assert result["map"] == run.map
            assert result["device_ips"] == run.device_ips
            assert (folder / "infer" / "times.csv").is_file()


def test_four_proposals_lose_too_much_and_threads_lose_nothing(tuned: Tuned) -> None:
    points = {one.title: one for one in tuned.record.points}
    assert points["proposals 4"].status == "beyond"
    assert points["proposals 4"].difference is not None
    assert points["proposals 4"].difference.high < -0.005
    if space.cores() > 1:
        fewer = points[f"threads {space.cores() // 2}"]
        assert fewer.delta == 0.0
        assert fewer.status == "within"


def test_the_choice_is_within_the_budget_on_pictures_that_were_not_searched(tuned: Tuned) -> None:
    found = tuned.record
    assert found.pictures.held_out == _PICTURES // 2
    assert found.chosen is not None
    point = found.points[found.chosen.point]
    if point.status == "reference":
        assert found.chosen.held_out is None
    else:
        assert point.held_out_status == "within"
        assert point.held_out is not None
        assert point.held_out.difference is not None
        assert point.held_out.difference.low >= -0.005
    assert tuned.code in (ExitCode.OK, ExitCode.UNDECIDED)
    assert found.chosen.command.startswith("make all TARGET=cpu MODEL=demo ")


def test_the_two_halves_share_no_picture(tuned: Tuned) -> None:
    path = tuned.root / "results" / "demo-data-search" / "cpu" / "infer" / "pictures.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    searched = {json.loads(line)["id"] for line in lines}
    held_out = {item.id for item in datasets.load(tuned.root / "data", part="held-out").items}
    assert len(searched) == len(held_out) == _PICTURES // 2
    assert not searched & held_out


def test_the_reference_is_measured_again(tuned: Tuned) -> None:
    drift = tuned.record.drift
    assert drift is not None
    assert 0.05 < drift.ratio < 20
    assert any(one.startswith("The reference, measured again") for one in tuned.record.sentences)


def test_a_search_again_makes_no_pass(tuned: Tuned, capsys: pytest.CaptureFixture[str]) -> None:
    before, passes = tuned.record, tuned.passes()
    (tuned.folder / record.NAME).unlink()
    tuned.run(targets="cpu")
    assert tuned.passes() == passes
    assert tuned.record == before
    printed = capsys.readouterr().out
    assert "pictures" in printed
    assert before.chosen is not None
    assert before.chosen.command in printed


def test_a_forged_record_is_computed_again(tuned: Tuned) -> None:
    before = (tuned.folder / record.NAME).read_text(encoding="utf-8")
    values = json.loads(before)
    for one in values["points"]:
        one["device_ips"], one["status"], one["map"] = 999.0, "within", 0.99
    (tuned.folder / record.NAME).write_text(json.dumps(values), encoding="utf-8")
    tuned.run(targets="cpu")
    assert (tuned.folder / record.NAME).read_text(encoding="utf-8") == before


def test_a_forged_result_is_computed_again(tuned: Tuned) -> None:
    before = tuned.record
    path = tuned.root / "results" / before.points[0].runs[-1].row / "result.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["device_ips"] = 999.0
    path.write_text(json.dumps(values), encoding="utf-8")
    tuned.run(targets="cpu")
    assert tuned.record == before
    assert json.loads(path.read_text(encoding="utf-8"))["device_ips"] != 999.0


def test_forged_times_are_measured_again(tuned: Tuned) -> None:
    """A pass whose files are not those of its record is no pass."""
    row = tuned.record.points[0].runs[-1].row
    path = tuned.root / "results" / row / "infer" / "times.csv"
    honest = path.read_text(encoding="utf-8")
    path.write_text(honest.replace("1,", "1,", 1) + " ", encoding="utf-8")
    made = tuned.passes()
    tuned.run(targets="cpu")
    again = tuned.passes()
    changed = {name for name in made if again[name] != made[name]}
    assert any(row in name for name in changed)
    # What was run again is not comparable with the machine of before: the reference, once more.
    assert any(f"{bench.AGAIN}/" in name for name in changed)


def test_the_report_shows_it_and_says_when_it_is_old(tuned: Tuned) -> None:
    page = tuned.folder / "comparison.html"
    if not page.exists():
        first = replace(tuned.options, target="cpu")
        from cascadeport.commands.run import run

        run(first, Reporter())
        assert page.exists()
    assert "The frontier: how fast within 0.5 points" in page.read_text(encoding="utf-8")
    assert "A row of this search is missing" not in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "budget", "said"),
    [
        ({}, 0.0, "The budget is 0 points"),
        ({}, 200.0, "The budget is 200 points"),
        ({"part": "search"}, 0.5, "tune divides the pictures itself"),
        ({"random_weights": 3}, 0.5, "the accuracy of random weights means nothing"),
        ({"keep_going": True}, 0.5, "every row is INVALID"),
    ],
)
def test_what_cannot_be_searched_is_refused(
    tmp_path: Path, changes: dict[str, Any], budget: float, said: str
) -> None:
    options = Options(results=tmp_path / "results", build=tmp_path / "build", **changes)
    with pytest.raises(CascadeportError, match=said):
        tune.tune(options, Reporter(), tune.Wanted(budget=budget))
    assert not (tmp_path / "results").exists()


# --- by the command line, on a graph that is ready as it is


def command(repository: Path, root: Path, *more: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(repository / "scripts"), str(repository)])
    words = [sys.executable, "-m", "cascadeport", "tune", "--targets", "cpu"]
    words += ["--model", str(root / "small.toml"), "--data", str(root / "data")]
    words += ["--build", str(root / "build"), "--results", str(root / "results"), *more]
    return subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def small(tmp_path: Path) -> Path:
    small_world.card(tmp_path)
    small_world.dataset(tmp_path / "data", 8)
    return tmp_path


def test_a_killed_search_goes_on_where_it_stopped(repository: Path, small: Path) -> None:
    process = command(repository, small)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("point    2:"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    process.stderr.close()
    rows = small / "results" / "small-data-search"
    first = (rows / "cpu" / "infer" / "run.json").stat().st_mtime_ns
    assert not (small / "results" / "small-data" / record.NAME).exists()
    again = command(repository, small)
    out, told = again.communicate(timeout=240)
    assert "Traceback" not in told
    assert again.returncode in (0, 7), told
    assert (rows / "cpu" / "infer" / "run.json").stat().st_mtime_ns == first
    found = record.load(small / "results" / "small-data" / record.NAME)
    assert found.points[0].status == "reference"
    assert "accuracy against speed" in out
    # Nothing in its network can be changed.
    (without,) = [one for one in found.left_out if "the card's graph is ready" in one]
    assert {"proposals", "shapes"} <= set(without.split(" on cpu:")[0].split(", "))


def test_two_searches_at_once_do_not_disturb_each_other(repository: Path, small: Path) -> None:
    first = command(repository, small)
    assert first.stderr is not None
    for line in first.stderr:
        if line.startswith("point    1:"):
            break
    # The first takes no longer than the second takes to start: it waits in its middle.
    first.send_signal(signal.SIGSTOP)
    second = command(repository, small)
    _, told = second.communicate(timeout=120)
    assert second.returncode == 2
    assert "is working in this folder" in told
    first.send_signal(signal.SIGINT)
    first.send_signal(signal.SIGCONT)
    _, rest = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "finished stages are kept" in rest
