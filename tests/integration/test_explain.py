"""`cascadeport explain`: rows as runs leave them, from their names to the files beside them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cascadeport.explain import record as records

from tests.helpers import command, small_world
from tests.helpers.explaining import row_of_npu
from tests.helpers.finished import rewrite

PICTURES = 4


def explain(world: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs it to its end."""
    places = ("--build", str(world / "build"), "--results", str(world / "results"))
    return subprocess.run(
        [sys.executable, "-m", "cascadeport", "explain", *words, *places],
        env={**os.environ, **command.ENV},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo on a few pictures: as it is, with other semantics, and a row of a 310P3.

    That row's record is the CPU's with another target, and the network that it names is kept
    nowhere: as after a run on another host.
    """
    folder = tmp_path_factory.mktemp("explain")
    for more in ((), ("--nms-levels", "across", "--nms-precision", "float16")):
        done = command.run(folder / "build", folder / "results", "--limit", str(PICTURES), *more)
        assert done.returncode in command.FINISHED, done.stderr
    row_of_npu(rows(folder) / "cpu", rows(folder) / "310P3")
    return folder


def rows(world: Path) -> Path:
    return world / "results" / f"demo-demo-first{PICTURES}"


def written(world: Path, second: str, first: str = "cpu") -> records.Explanation:
    return records.load(rows(world) / f"explain-{first}-{second}.json")


def test_nms_that_was_changed_is_where_it_begins(world: Path) -> None:
    changed = "cpu-levels-across-nms-float16"
    done = explain(world, "cpu", changed)
    assert done.returncode == 0, done.stderr
    found = written(world, changed)
    assert found.tensors.first is not None
    assert found.tensors.first.stage == "proposals"
    assert found.tensors.first.verdict == "made"
    assert found.tensors.first.operator.startswith("ProposalNMS")
    # The backbone is the same to the last bit.
    verdicts = {one.stage: one.verdict for one in found.tensors.anchors}
    assert {verdicts[stage] for stage in ("C2", "C5", "P2", "P6", "RPN P2")} == {"same"}
    assert found.sentences[0].startswith(f"cpu and {changed} begin to differ in proposals: ")
    assert found.sentences[0] in done.stdout.replace("\n", " ").replace("  ", " ")
    assert found.shares is not None
    side = found.shares.second
    assert [step.name for step in side.steps] == ["across_levels", "half_nms"]
    assert found.shares.first.steps == []
    assert found.shares.pictures == PICTURES
    check_sums(side)
    # The row was run here, by the same graph on other threads: nothing is left unexplained.
    assert side.elsewhere == pytest.approx(0, abs=0.05)
    assert side.base == pytest.approx(found.first.map, abs=5e-4)


def check_sums(side: records.Side) -> None:
    """The waterfall leads from the first bar to the last."""
    assert side.base is not None
    assert side.together is not None
    assert side.remainder is not None
    steps = sum(step.points or 0 for step in side.steps)
    assert 100 * side.base + steps + side.remainder == pytest.approx(100 * side.together)
    for step in side.steps:
        assert step.map is not None
        assert step.points == pytest.approx(100 * (step.map - side.base))


def test_an_npus_row_is_emulated_rule_by_rule(world: Path) -> None:
    done = explain(world, "cpu", "310P3", "--picture", "139", "--json", "--ablate", "3")
    assert done.returncode == 0, done.stderr
    found = written(world, "310P3")
    assert json.loads(done.stdout) == json.loads(found.model_dump_json())
    assert found.picture.id == 139
    assert found.tensors.first is not None
    # Every tensor is rounded, the picture first of all.
    assert found.tensors.first.stage == "C2"
    assert found.shares is not None
    assert [step.name for step in found.shares.second.steps] == [
        "across_levels",
        "nms",
        "deformable",
        "thin",
        "tensors",
    ]
    assert (found.shares.pictures, found.shares.of) == (3, PICTURES)
    # Three pictures' mAP is not the row's.
    assert found.shares.second.map is None
    check_sums(found.shares.second)
    assert any("lowered again" in note for note in found.notes)


def test_a_row_and_its_copy_agree(world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "cpu"
    shutil.copytree(rows(world) / "cpu", copy)
    done = explain(world, str(rows(world) / "cpu"), str(copy))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Nothing beyond noise: ")
    assert "neither row declares a change of meaning" in done.stdout
    assert (copy.parent / "explain-cpu-cpu.json").is_file()
    assert not (copy.parent / "explain-cpu-cpu.svg").exists()


def test_rows_of_the_same_name_are_told_apart(world: Path, tmp_path: Path) -> None:
    """Both are a 310P3's, and only one of them merges the pyramid's levels."""
    other = tmp_path / "elsewhere" / "310P3"
    shutil.copytree(rows(world) / "310P3", other)

    def within(record: dict[str, Any]) -> None:
        (record.get("run") or record)["subject"]["semantics"]["nms_levels"] = "within"

    rewrite(other / "result.json", within)
    rewrite(other / "infer" / "run.json", within)
    done = explain(world, str(other), str(rows(world) / "310P3"), "--ablate", "2")
    assert done.returncode == 0, done.stderr
    found = written(world, "310P3", "310P3")
    assert found.tensors.first is not None
    assert found.tensors.first.stage == "proposals"
    # What both change is on throughout, and no change of its own.
    assert found.shares is not None
    assert [one.name for one in found.shares.second.steps] == ["across_levels"]
    assert found.shares.first.steps == []


def test_the_page_and_the_chart_are_whole_and_load_nothing(world: Path) -> None:
    explain(world, "cpu", "310P3", "--ablate", "2")
    page = (rows(world) / "explain-cpu-310P3.html").read_text(encoding="utf-8")
    chart = (rows(world) / "explain-cpu-310P3.svg").read_text(encoding="utf-8")
    assert page.endswith("</html>\n")
    assert "default-src 'none'" in page
    for text in (page, chart):
        assert "<script" not in text
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "").replace(
            "http-equiv", ""
        )
    assert "interactions" in chart
    assert chart.count("<rect") == 5 + 1 + 2


MISTAKES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "no second row": (("cpu",), "Two rows have to be named."),
    "the same row": (("cpu", "cpu"), "nothing to explain"),
    "a mistyped row": (("cpu", "310p3"), "perhaps you meant '310P3'"),
    "only published": (("cpu", "T4"), "Nothing of T4 ran here"),
    "no folder": (("cpu", "./nowhere/cpu"), "There is no such folder of a row."),
    "no picture": (("cpu", "310P3", "--picture", "5"), "The data set has no picture 5"),
    "a third row": (("cpu", "310P3", "T4"), "takes no argument such as 'T4'"),
}


@pytest.mark.parametrize(("words", "told"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_told_in_a_sentence(world: Path, words: tuple[str, ...], told: str) -> None:
    done = explain(world, *words)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_of_different_models_are_named(world: Path, tmp_path: Path) -> None:
    small_world.dataset(tmp_path / "data")
    small_world.card(tmp_path)
    where = ("--model", str(tmp_path / "small.toml"), "--data", str(tmp_path / "data"))
    done = command.run(tmp_path / "build", tmp_path / "results", *where)
    assert done.returncode == 0, done.stderr
    small = tmp_path / "results" / "small-data" / "cpu"
    done = explain(world, str(rows(world) / "cpu"), str(small))
    assert done.returncode == 2
    assert "small" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_graph_that_is_gone_and_cannot_be_made_again_is_told(world: Path, tmp_path: Path) -> None:
    folder = tmp_path / "demo" / "cpu-old"
    shutil.copytree(rows(world) / "cpu", folder)
    gone = "1" * 64
    rewrite(folder / "infer" / "stage.json", lambda one: one["inputs"].update(network=gone))

    def network(job: dict[str, Any]) -> None:
        job["networks"][0]["sha256"] = gone

    rewrite(folder / "infer" / "job.json", network)
    done = explain(world, str(folder), str(rows(world) / "310P3"))
    assert done.returncode == 2
    assert "The graph that cpu-old ran is not kept" in done.stderr


def test_a_graph_of_ones_own_is_compared_by_the_names_of_its_values(tmp_path: Path) -> None:
    """A card's graph that ran as it is has no neutral one, and no stages."""
    small_world.dataset(tmp_path / "data")
    small_world.card(tmp_path)
    where = ("--model", str(tmp_path / "small.toml"), "--data", str(tmp_path / "data"))
    done = command.run(tmp_path / "build", tmp_path / "results", *where)
    assert done.returncode == 0, done.stderr
    one = tmp_path / "results" / "small-data" / "cpu"
    other = tmp_path / "results" / "small-data" / "cpu-again"
    shutil.copytree(one, other)
    done = explain(tmp_path, "cpu", "cpu-again", "--model", str(tmp_path / "small.toml"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Nothing beyond noise: ")
