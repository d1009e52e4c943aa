"""A row whose pass ran in shards: the same bytes, a fleet's times, computed and not believed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import command, small_world

PICTURES = 7
SAME = ("detections.json", "geometry.jsonl", "pictures.jsonl")


class World:
    """A card and a data set, with results of the whole and of three shards."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.card = small_world.card(root)
        self.data = small_world.dataset(root / "data", PICTURES)

    def run(self, *words: str) -> Any:
        return command.run(
            *(self.root / "build", self.root / "results"),
            *("--model", str(self.card), "--data", str(self.data), *words),
            CASCADEPORT_LOCKS=str(self.root / "locks"),
        )

    @property
    def results(self) -> Path:
        return self.root / "results" / "small-data"

    def rows(self) -> dict[str, dict[str, Any]]:
        found = json.loads((self.results / "comparison.json").read_text())
        return {row["target"]: row for row in found["rows"]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("sharded"))
    for words in ((), ("--shards", "3")):
        done = world.run(*words)
        assert done.returncode in command.FINISHED, done.stderr
    return world


def test_the_bytes_are_those_of_one_run(made: World) -> None:
    for name in SAME:
        whole, shards = (made.results / row / "infer" / name for row in ("cpu", "cpu-shards3"))
        assert shards.read_bytes() == whole.read_bytes(), name
    # Nothing is left but the stage.
    assert not list((made.results / "cpu-shards3").glob(".shards-*"))


def test_the_row_says_whose_times_they_are(made: World) -> None:
    row = made.rows()["cpu-shards3"]
    assert row["status"] == "measured", row["reason"]
    assert "3 shards" in row["title"]
    said = " ".join(row["remarks"])
    assert "Its times are a fleet's: 3 shards on 1 device" in said
    assert "do not compare with a row of one device" in said
    result = json.loads((made.results / "cpu-shards3" / "result.json").read_text())
    fleet = result["fleet"]
    assert (fleet["nodes"], fleet["machines"], fleet["devices"]) == (1, 1, 1)
    assert [one["pictures"] for one in fleet["shards"]] == [3, 2, 2]
    assert all(one["conditions"]["cores"] >= 1 for one in fleet["shards"])
    # One after the other, each with a process of its own: slower than the device by itself.
    (device,) = result["run"]["summary"]["devices"]
    assert result["end_to_end_ips"] < device["end_to_end_ips"]
    assert made.rows()["cpu"]["status"] == "measured"


def test_it_is_up_to_date(made: World) -> None:
    done = made.run("--shards", "3", "--dry-run")
    assert done.returncode == 0, done.stderr
    (line,) = [one for one in done.stdout.splitlines() if " infer " in one]
    assert line.startswith("skip")


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _faster(row: Path) -> None:
    _edit(row / "infer/run.json", lambda run: run["summary"].update(end_to_end_ips=1e6))


def _fewer_shards(row: Path) -> None:
    _edit(row / "infer/run.json", lambda run: run["shards"].pop())


def _other_times(row: Path) -> None:
    path = row / "infer/shards/2-of-3/times.csv"
    head, *lines = path.read_text().splitlines(keepends=True)
    path.write_text(head + "".join(lines[:-1]))


def _no_record(row: Path) -> None:
    (row / "infer/shards/2-of-3/run.json").unlink()


def _moved_clock(row: Path) -> None:
    _edit(row / "infer/shards/2-of-3/run.json", lambda run: run.update(began=1.0))


def _other_node(row: Path) -> None:
    _edit(row / "infer/run.json", lambda run: run["shards"][1].update(node="elsewhere"))


@pytest.mark.parametrize(
    ("forge", "text"),
    [
        (_faster, "end_to_end_ips"),
        (_fewer_shards, "shard"),
        (_other_times, "shard 2/3"),
        (_no_record, "shard 2/3"),
        (_moved_clock, "shard 2/3"),
        (_other_node, "shard 2/3"),
    ],
)
def test_a_forged_row_is_invalid(
    made: World, tmp_path: Path, forge: Callable[[Path], None], text: str
) -> None:
    saved = tmp_path / "saved"
    shutil.copytree(made.root / "results", saved)
    try:
        forge(made.results / "cpu-shards3")
        _record_again(made.results / "cpu-shards3" / "infer")
        words = (str(made.card), "--data", str(made.data))
        done = _compare(made, "--model", *words)
        assert "Traceback" not in done.stderr
        row = made.rows()["cpu-shards3"]
        assert row["status"] == "invalid"
        assert text in row["reason"]
    finally:
        shutil.rmtree(made.root / "results")
        shutil.copytree(saved, made.root / "results")


def _compare(made: World, *words: str) -> Any:
    return subprocess.run(
        [
            *(sys.executable, "-m", "cascadeport", "compare", *words),
            *("--build", str(made.root / "build"), "--results", str(made.root / "results")),
        ],
        env={**os.environ, **command.ENV},
        capture_output=True,
        text=True,
        check=False,
    )


def _record_again(folder: Path) -> None:
    """stage.json fits the forged files: only their meaning can tell."""

    def change(record: dict[str, Any]) -> None:
        for name in list(record["files"]):
            path = folder / name
            if not path.exists():
                del record["files"][name]
                continue
            data = path.read_bytes()
            record["files"][name] = {
                "bytes": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }

    _edit(folder / "stage.json", change)


def test_a_run_that_was_killed_goes_on_with_the_shards_that_it_has(tmp_path: Path) -> None:
    world = World(tmp_path)
    process = subprocess.Popen(
        command.line(
            *(world.root / "build", world.root / "results", "--model", str(world.card)),
            *("--data", str(world.data), "--shards", "4"),
        ),
        env={**os.environ, **command.ENV, "CASCADEPORT_LOCKS": str(world.root / "locks")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    row = world.results / "cpu-shards4"
    # The next shard needs longer than this to import what it runs on.
    while not list(row.glob(".shards-*/shard-1-of-4")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (place,) = row.glob(".shards-*")
    before = (place / "shard-1-of-4" / "run.json").stat().st_mtime
    done = world.run("--shards", "4")
    assert done.returncode in command.FINISHED, done.stderr
    assert "Shard 1/4 has been run already" in done.stdout + done.stderr
    kept = json.loads((row / "infer/shards/1-of-4/run.json").read_text())
    assert kept["began"] < before
    assert len(json.loads((row / "infer/detections.json").read_text())) == PICTURES


def test_what_cannot_be_sharded(tmp_path: Path) -> None:
    world = World(tmp_path)
    more = ("--dry-run", "--target", "310P3", "--simulate", "--bins", "--shards", "2")
    done = command.run(tmp_path / "build", tmp_path / "results", *more)
    assert "its pass has no shards" in done.stderr
    assert "Add --shards N" in world.run("--dry-run", "--engine", "swarm").stderr
    done = world.run("--dry-run", "--volume", "data")
    assert "--volume is for the nodes of a swarm" in done.stderr
