"""All targets that run here in one table: on this machine, in containers, simulated, published."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cascadeport import backends
from cascadeport.core import store
from cascadeport.core.stage import key_of

from tests.helpers import command, contexts, docker_fixtures, real_world
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.finished import rewrite
from tests.helpers.target_images import empty, environment

pytestmark = pytest.mark.docker

ROWS = {
    "cpu": ("measured", ["--target", "cpu"]),
    "cpu-docker": ("measured", ["--target", "cpu", "--engine", "docker"]),
    "openvino": ("measured", ["--target", "openvino"]),
    "310P3": ("simulated", ["--target", "310P3", "--simulate"]),
    "310": ("simulated", ["--target", "310", "--simulate"]),
}


@dataclass(frozen=True)
class Table:
    """Five rows of one model on one data set.

    Args:
        folder: Of the comparison.
        build: What the runs share.
        words: The model and the data, as words of the command line.
    """

    folder: Path
    build: Path
    words: list[str]

    @property
    def comparison(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "comparison.json").read_text())
        return found

    def copy(self, folder: Path) -> Table:
        """A copy to spoil."""
        shutil.copytree(self.folder, folder / self.folder.name)
        return Table(folder / self.folder.name, self.build, self.words)

    def again(self, *words: str) -> dict[str, Any]:
        """`all` once more on this machine; returns the rows by name."""
        done = command.run(self.build, self.folder.parent, *self.words, *words)
        assert done.returncode not in (1, 2), done.stderr
        return {row["target"]: row for row in self.comparison["rows"]}


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with docker_fixtures.started() as engine:
        yield engine


@pytest.fixture(scope="module", params=["the demo's pictures", "real pictures"])
def table(
    request: pytest.FixtureRequest,
    engine: PrivateEngine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Table:
    folder = tmp_path_factory.mktemp("table")
    words = ["--model", "demo", "--data", "demo", "--limit", "24"]
    if request.param == "real pictures":
        shared = request.getfixturevalue("shared")
        card = real_world.demo_card(folder / "coco.toml", coco=True)
        words = ["--model", str(card), "--data", str(shared / "coco26")]
    made = backends.of(contexts.context("openvino").target).environment
    if made is None or not made.is_installed:
        pytest.skip("OpenVINO is not installed in .venv-openvino (make install TARGET=openvino)")
    for name, (_, own) in ROWS.items():
        env = {}
        if name not in ("cpu", "openvino"):
            env = environment(engine, name.removesuffix("-docker"))
        done = command.run(folder / "build", folder / "results", *words, *own, **env)
        assert done.returncode in command.FINISHED, (name, done.stderr)
    assert empty(engine)
    (comparison,) = (folder / "results").glob("*/comparison.json")
    return Table(comparison.parent, folder / "build", words)


def test_every_row_is_there_with_its_status_and_a_verdict(table: Table) -> None:
    rows = {row["target"]: row for row in table.comparison["rows"] if row["status"] != "published"}
    assert {name: row["status"] for name, row in rows.items()} == {
        name: status for name, (status, _) in ROWS.items()
    }
    assert rows["cpu"]["map"] == rows["cpu-docker"]["map"]
    for name, (status, _) in ROWS.items():
        assert rows[name]["reason"] == ""
        assert (rows[name]["device_ips"] is None) == (status == "simulated")
        assert rows[name]["verdict_reason"]
    published = [row for row in table.comparison["rows"] if row["status"] == "published"]
    assert all(row["reason"] for row in published), "a published row names its source"
    if "demo" in table.words:
        assert published
        assert rows["cpu"]["verdict"] == "pass"


def test_the_drift_of_every_row_is_measured(table: Table) -> None:
    drifts = {
        one["second"]: one
        for one in json.loads((table.folder / "drift.json").read_text())["drifts"]
    }
    assert set(drifts) == {*ROWS} - {"cpu"}
    docker = drifts["cpu-docker"]["overall"]
    assert docker["identical"] == docker["first"] == docker["second"] > 0
    openvino = drifts["openvino"]["overall"]
    assert openvino["pairs"] >= 0.99 * openvino["first"]
    # NMS across levels in float16, 500 proposals: nobody expects the same detections.
    assert drifts["310P3"]["overall"]["identical"] < drifts["310P3"]["overall"]["first"]
    # One chip's arithmetic is another one's.
    for key in ("first", "second", "pairs"):
        assert drifts["310"]["overall"][key] == drifts["310P3"]["overall"][key]


def test_the_report_shows_all_of_them(table: Table) -> None:
    page = (table.folder / "comparison.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 15_000_000
    for row in table.comparison["rows"]:
        assert row["title"].replace("&", "&amp;") in page
    for heading in ('id="verdict"', 'id="table"', 'id="drift"', 'id="accuracy"', 'id="time"'):
        assert heading in page


def move(found: list[Any]) -> int:
    best = max(found, key=lambda one: one["score"])
    best["bbox"][0] += 3.0
    return int(best["image_id"])


def swap(found: list[Any]) -> int:
    best = max(found, key=lambda one: one["score"])
    others = sorted({one["category_id"] for one in found} - {best["category_id"]})
    best["category_id"] = others[0]
    return int(best["image_id"])


def drop(found: list[Any]) -> int:
    best = max(found, key=lambda one: one["score"])
    picture = int(best["image_id"])
    found[:] = [one for one in found if one["image_id"] != picture]
    return picture


@pytest.mark.parametrize(("plant", "kind"), [(move, "boxes"), (swap, "classes"), (drop, "missing")])
def test_a_device_that_finds_something_else_is_caught_by_its_drift(
    table: Table, tmp_path: Path, plant: Callable[[list[Any]], int], kind: str
) -> None:
    """Its files are consistent: it really found that. So the row counts, and the drift names it."""
    spoilt = table.copy(tmp_path)
    picture = planted(spoilt.folder / "openvino", plant)
    rows = spoilt.again("--target", "openvino")
    assert rows["openvino"]["status"] == "measured", rows["openvino"]["reason"]
    drifts = json.loads((spoilt.folder / "drift.json").read_text())["drifts"]
    (drift,) = (one for one in drifts if one["second"] == "openvino")
    extent = drift["overall"][kind]
    assert extent["count"] >= 1
    assert extent["picture"] == picture
    assert [one["id"] for one in drift["worst"]] == [picture]
    assert (spoilt.folder / drift["worst"][0]["drawing"]).is_file()


def not_a_number(found: list[Any]) -> None:
    found[0]["score"] = float("nan")


def of_another_data_set(found: list[Any]) -> None:
    for one in found:
        one["image_id"] += 1_000_000_000


@pytest.mark.parametrize(
    ("plant", "reason"),
    [
        (not_a_number, "score: input should be a finite number"),
        (of_another_data_set, "is not one of this run"),
    ],
)
def test_detections_that_cannot_be_are_invalid_with_the_reason(
    table: Table, tmp_path: Path, plant: Callable[[list[Any]], None], reason: str
) -> None:
    spoilt = table.copy(tmp_path)
    planted(spoilt.folder / "openvino", plant)
    # Another row is run: the table computes all of them.
    row = spoilt.again()["openvino"]
    assert row["status"] == "invalid"
    assert reason in row["reason"]
    assert row["verdict"] == "fail"


def test_a_picture_without_a_result_is_invalid(table: Table, tmp_path: Path) -> None:
    """It is gone from every file of the pass, and yet it was to be run."""
    spoilt = table.copy(tmp_path)
    home = spoilt.folder / "openvino" / "infer"
    lines = (home / "times.csv").read_text().splitlines(keepends=True)
    (home / "times.csv").write_text("".join(lines[:1] + lines[2:]))
    gone = int(lines[1].split(",")[1])
    rewrite(home / "detections.json", lambda found: found.__setitem__(
        slice(None), [one for one in found if one["image_id"] != gone]
    ))  # fmt: skip
    rewrite(home / "run.json", lambda record: record.update(pictures=record["pictures"] - 1))
    seal(home)
    row = spoilt.again()["openvino"]
    assert row["status"] == "invalid"
    assert "1 pictures have no result" in row["reason"]


def planted(home: Path, plant: Callable[[list[Any]], Any]) -> Any:
    """Changes a pass's detections, and its record so that they are what the pass left."""
    path = home / "infer" / "detections.json"
    found = json.loads(path.read_text())
    result = plant(found)
    path.write_text(json.dumps(found))
    seal(home / "infer")
    return result


def seal(home: Path) -> None:
    record = json.loads((home / store.RECORD).read_text(encoding="utf-8"))
    facts = {key: record[key] for key in ("stage", "title", "parameters", "inputs")}
    key = key_of("infer", record["parameters"], record["inputs"])
    store.write_record(home, key, [home / file for file in record["files"]], facts, hashed=True)
