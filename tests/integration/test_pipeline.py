"""The command line from end to end, as a user meets it: exit codes, files, skips, interruptions."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.helpers import small_world


@dataclass
class World:
    """A card, a data set and folders of their own."""

    root: Path
    repository: Path

    @property
    def data(self) -> Path:
        return self.root / "data set ü"

    @property
    def results(self) -> Path:
        return self.root / "results" / f"small-{self.data.name}"

    def command(self, *more: str, name: str = "all") -> list[str]:
        places = ["--build", str(self.root / "build"), "--results", str(self.root / "results")]
        what = ["--model", str(self.root / "small.toml"), "--data", str(self.data)]
        return [sys.executable, "-m", "cascadeport", name, *what, *places, *more]

    @property
    def env(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.repository / "scripts"), str(self.repository)])
        return {**os.environ, "PYTHONPATH": path}

    def run(self, *more: str, name: str = "all") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*more, name=name),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    def fails(self, code: int, *words: str, more: tuple[str, ...] = ()) -> str:
        """Runs, expects an exit code and words in what is said, and returns what is said."""
        done = self.run(*more)
        assert done.returncode == code, done.stderr
        for word in words:
            assert word in done.stderr, done.stderr
        return done.stderr

    def row(self) -> dict[str, Any]:
        content = json.loads((self.results / "comparison.json").read_text(encoding="utf-8"))
        row: dict[str, Any] = content["rows"][0]
        return row


@pytest.fixture
def world(tmp_path: Path, repository: Path) -> World:
    made = World(tmp_path, repository)
    small_world.card(tmp_path)
    small_world.dataset(made.data)
    return made


def test_every_promised_file_is_there(world: World) -> None:
    done = world.run()
    assert done.returncode == 0, done.stderr
    row = world.row()
    assert row["status"] == "measured"
    assert row["map"] == pytest.approx(1.0)
    assert row["pictures"] == 4
    wanted = "target status reason map map50 map75 pictures device_ips end_to_end_ips latency_ms"
    assert set(wanted.split()) <= set(row)
    assert set(row["latency_ms"]) >= {"n", "mean", "p50", "p90", "p99"}
    assert row["latency_ms"]["p99"] is None  # four samples
    for key in ("bundle_digest", "model_digest", "dataset_digest"):
        assert len(row[key]) == 64
    for suffix in ("csv", "md", "html"):
        assert (world.results / f"comparison.{suffix}").stat().st_size > 100
    with (world.results / "comparison.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [line["target"] for line in csv.DictReader(file)] == ["cpu"]
    assert "| CPU, onnxruntime |" in done.stdout


def test_a_second_run_skips_and_says_so(world: World) -> None:
    world.run()
    before = {path: path.read_bytes() for path in world.results.glob("comparison.*")}
    done = world.run()
    assert done.returncode == 0
    assert done.stderr.count("skip ") == 2, done.stderr
    assert done.stderr.count("run  ") == 1
    assert "run      compare and report" in done.stderr
    assert before == {path: path.read_bytes() for path in world.results.glob("comparison.*")}


def test_a_table_that_was_edited_is_not_shown_again(world: World) -> None:
    """Whoever edits a table can edit whatever says that it is up to date."""
    world.run()
    for path in world.results.glob("comparison.*"):
        path.write_bytes(
            path.read_bytes().replace(b"measured", b"MEASURED").replace(b"1.0", b"7.7")
        )
    done = world.run()
    assert done.returncode == 0
    assert "MEASURED" not in done.stdout
    assert world.row()["map"] == pytest.approx(1.0)
    assert all(b"MEASURED" not in path.read_bytes() for path in world.results.glob("comparison.*"))


def test_a_changed_input_is_noticed(world: World) -> None:
    world.run()
    card = world.root / "small.toml"
    card.write_text(card.read_text().replace("std = [1, 1, 1]", "std = [2, 1, 1]"))
    assert "its inputs changed" in world.run().stderr


def test_the_plan_prints_and_starts_nothing(world: World) -> None:
    done = world.run("--dry-run")
    assert done.returncode == 0
    assert "infer" in done.stdout
    assert "not done yet" in done.stdout
    assert not (world.root / "results").exists()
    content = json.loads(world.run("--json", name="plan").stdout)
    assert [stage["stage"] for stage in content["stages"]] == ["infer", "evaluate"]
    assert all(len(stage["key"]) == 64 for stage in content["stages"])


def test_a_limit_makes_results_of_its_own(world: World) -> None:
    assert world.run("--limit", "2").returncode == 0
    folder = world.root / "results" / f"small-{world.data.name}-first2"
    rows = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))["rows"]
    assert rows[0]["pictures"] == 2
    assert rows[0]["map"] == pytest.approx(1.0)
    world.fails(2, "--limit must be at least 1, not 0.", more=("--limit", "0"))


def test_wrong_names_are_told_with_the_nearest(world: World) -> None:
    world.fails(2, "perhaps you meant 'cpu'", more=("--target", "cpuu"))
    world.fails(2, "perhaps you meant 'demo'", more=("--data", "deom"))
    world.fails(2, "perhaps you meant 'demo'", more=("--model", "dmeo"))


def test_every_fault_of_a_card_at_once(world: World) -> None:
    card = world.root / "small.toml"
    card.write_text(card.read_text().replace("channels", "chanels").replace("size", "sise"))
    said = world.fails(2, "perhaps you meant 'channels'", "perhaps you meant 'size'")
    assert "4 errors" in said


def test_a_card_with_a_wrong_digest(world: World) -> None:
    card = world.root / "small.toml"
    card.write_text(card.read_text() + f'sha256 = "{"0" * 64}"\n')
    world.fails(2, "graph.sha256", "the card says")


def test_categories_that_the_data_set_does_not_have(world: World) -> None:
    card = world.root / "small.toml"
    card.write_text(card.read_text().replace("category_id = 5", "category_id = 6"))
    world.fails(3, "has no category 6")


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"input_name": "image"}, 2, ("input", "image")),
        ({"boxes_name": "dets"}, 2, ("boxes", "dets")),
        ({"size": 32}, 2, ("32", "64")),
        ({"columns": 6}, 2, ("boxes", "6")),
        ({"score": float("nan")}, 3, ("NaN",)),
    ],
)
def test_a_graph_that_breaks_the_contract(
    world: World, changes: dict[str, Any], code: int, words: tuple[str, ...]
) -> None:
    """What the file shows is bad input, and nothing is started; NaN shows when the graph runs."""
    small_world.graph(world.root / "small.onnx", **changes)
    world.fails(code, *words)
    assert (world.root / "results").exists() is (code == 3)
    assert not (world.results / "cpu" / "infer").exists()


def test_a_graph_that_is_no_graph(world: World) -> None:
    (world.root / "small.onnx").write_bytes(b"no graph at all")
    world.fails(2, "small.onnx")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _sixteen_bits(path: Path) -> None:
    deep = np.full((small_world.SIZE, small_world.SIZE, 3), 40000, np.uint16)
    path.write_bytes(cv2.imencode(".png", deep)[1].tobytes())


def _wide(path: Path) -> None:
    path.write_bytes(cv2.imencode(".png", np.zeros((3, 30000, 3), np.uint8))[1].tobytes())


BAD_PICTURES = {
    "truncated": _truncate,
    "zero bytes": lambda path: _write(path, b""),
    "no picture": lambda path: _write(path, b"<html>not found</html>"),
    "missing": Path.unlink,
    "another size": _wide,
    "16 bits": _sixteen_bits,
}


@pytest.mark.parametrize("fault", BAD_PICTURES)
def test_bad_pictures(world: World, fault: str) -> None:
    """A clear error by default; with --keep-going a counted, listed skip and an INVALID row."""
    assert world.run("--limit", "1").returncode == 0
    victim = world.data / "val2017" / "2.jpg"
    BAD_PICTURES[fault](victim)
    done = world.run()
    assert done.returncode in (2, 3), done.stderr
    assert "2.jpg" in done.stderr
    done = world.run("--keep-going")
    assert done.returncode == 4, done.stderr
    row = world.row()
    assert row["status"] == "invalid"
    assert row["pictures"] == 4  # never a smaller denominator
    assert row["map"] < 1
    skipped = json.loads((world.results / "cpu" / "infer" / "run.json").read_text())["skipped"]
    assert [(entry["id"], entry["file"]) for entry in skipped] == [(17, "2.jpg")]


def test_pictures_of_extreme_sizes_work(world: World) -> None:
    content = small_world.annotations()
    for number, (width, height) in enumerate([(1, 1), (30000, 3), (3, 30000)]):
        name = f"odd{number}.png"
        picture = np.full((height, width, 3), 99, np.uint8)
        assert cv2.imwrite(str(world.data / "val2017" / name), picture)
        content["images"].append(
            {"id": 900 + number, "file_name": name, "width": width, "height": height}
        )
    small_world.write_annotations(world.data, content)
    done = world.run()
    assert done.returncode == 0, done.stderr
    assert world.row()["pictures"] == 7


def _break_annotations(world: World, how: str) -> None:
    content = small_world.annotations()
    if how == "no json":
        path = world.data / "annotations" / "instances_val2017.json"
        path.write_text('{"images": [')
        return
    if how == "no categories":
        del content["categories"]
    elif how == "duplicate ids":
        content["images"][1]["id"] = content["images"][0]["id"]
    elif how == "nan":
        content["annotations"][2]["bbox"][0] = float("nan")
    elif how == "negative":
        content["annotations"][2]["bbox"][2] = -4
    elif how == "outside":
        content["annotations"][2]["bbox"] = [500, 500, 10, 10]
    small_world.write_annotations(world.data, content)


@pytest.mark.parametrize(
    "how", ["no json", "no categories", "duplicate ids", "nan", "negative", "outside"]
)
def test_bad_annotations(world: World, how: str) -> None:
    _break_annotations(world, how)
    world.fails(2, "instances_val2017.json")


def test_iscrowd_missing_is_taken_as_zero_and_said(world: World) -> None:
    content = small_world.annotations()
    for annotation in content["annotations"]:
        del annotation["iscrowd"]
    small_world.write_annotations(world.data, content)
    done = world.run()
    assert done.returncode == 0, done.stderr
    assert "iscrowd" in done.stderr
    assert world.row()["map"] == pytest.approx(1.0)


def test_a_read_only_results_folder(world: World) -> None:
    if os.geteuid() == 0:
        # Permissions do not bind root; a file in the folder's place refuses everybody.
        (world.root / "results").write_text("")
        world.fails(3, "results")
        return
    (world.root / "results").mkdir(mode=0o555)
    world.fails(3, "not permitted")


def test_a_stage_folder_of_an_older_version(world: World) -> None:
    world.run()
    record = world.results / "cpu" / "infer" / "stage.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "format": 0}))
    done = world.run()
    assert done.returncode == 0
    assert "written by another version" in done.stderr


def test_a_truncated_product_is_made_again(world: World) -> None:
    world.run()
    found = world.results / "cpu" / "infer" / "detections.json"
    found.write_bytes(found.read_bytes()[:-5])
    done = world.run()
    assert done.returncode == 0
    assert "has another size" in done.stderr
    json.loads(found.read_text())


def _until(condition: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def _many(world: World, count: int = 3000) -> None:
    shutil.rmtree(world.data)
    (world.data / "val2017").mkdir(parents=True)
    (world.data / "annotations").mkdir()
    picture = world.root / "one.jpg"
    assert cv2.imwrite(str(picture), np.zeros((small_world.SIZE,) * 2 + (3,), np.uint8))
    content = small_world.annotations(count)
    for image in content["images"]:
        os.link(picture, world.data / "val2017" / image["file_name"])
    small_world.write_annotations(world.data, content)


def _busy(world: World) -> subprocess.Popen[str]:
    """A run that is in the middle of its pictures."""
    _many(world)
    process = subprocess.Popen(
        world.command("--repeats", "5000"), env=world.env, stderr=subprocess.PIPE, text=True
    )
    _until(lambda: list(world.results.glob("cpu/.infer.tmp-*/infer.log")))
    log = next(world.results.glob("cpu/.infer.tmp-*/infer.log"))
    _until(lambda: '"scored"' in log.read_text())
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_and_run_again(world: World, number: signal.Signals, code: int) -> None:
    process = _busy(world)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "finished stages are kept" in said
    assert "Traceback" not in said
    assert [path.name for path in (world.results / "cpu").iterdir() if path.is_dir()] == []
    done = world.run("--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert world.row()["pictures"] == 3000


def test_killed_and_two_runs_at_once(world: World) -> None:
    process = _busy(world)
    try:
        world.fails(3, "Another run", str(process.pid))
        # It says nothing of the row, which the other run is making.
        assert list(world.results.glob("*/failed.json")) == []
    finally:
        process.kill()
        process.communicate()
    # The child of the killed run notices that nobody listens, and ends.
    done = world.run("--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert not list((world.results / "cpu").glob(".infer.tmp-*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_no_space_left_keeps_finished_stages(world: World) -> None:
    """A real full disk, filled up in the middle of a run, and before one."""
    small = world.root / "results"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600m", "tmpfs", str(small)]
    if subprocess.run(mount, check=False).returncode:
        pytest.skip("this machine does not mount a tmpfs")
    try:
        assert world.run("--limit", "2").returncode == 0
        finished = small / f"small-{world.data.name}-first2" / "cpu" / "infer" / "run.json"
        process = _busy(world)
        with (
            (small / "ballast").open("wb", buffering=0) as file,
            pytest.raises(OSError, match="space"),
        ):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        _, said = process.communicate(timeout=120)
        assert process.returncode == 3, said
        assert "no space left" in said.lower() or "full" in said
        assert finished.is_file()
        world.fails(2, "free", "--results ")
        (small / "ballast").unlink()
        assert world.run("--limit", "2").returncode == 0
    finally:
        subprocess.run(["umount", str(small)], check=True)
