"""Shards of a job: run apart and merged, they are the run; and nothing else is merged."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import BundleError
from bundle.job import Job
from bundle.run import run
from bundle.runners import Runner
from bundle.sharded.merge import merge
from bundle.sharded.record import read_shard
from bundle.sharded.work import run_shard
from bundle.shards import Shard
from tests.helpers import bundle_jobs as jobs

SAME = ("detections.json", "geometry.jsonl", "pictures.jsonl")
COUNT = 3


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A job over five pictures, and beside it what one run of it gives."""
    content = jobs.small(tmp_path)
    run(jobs.checked(content), str(tmp_path / "whole"))
    return jobs.write(tmp_path / "job.json", content)


@pytest.fixture
def out(path: Path) -> Path:
    """All three shards of it, finished."""
    folder = path.parent / "out"
    for index in range(1, COUNT + 1):
        run_shard(str(path), str(folder), Shard(index, COUNT))
    return folder


def load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def assert_whole(out: Path) -> None:
    for name in SAME:
        assert (out / name).read_bytes() == (out.parent / "whole" / name).read_bytes(), name


def shard(out: Path, index: int, count: int = COUNT) -> Path:
    return out / f"shard-{index}-of-{count}"


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = load(path)
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_the_shards_together_are_the_run(path: Path, out: Path) -> None:
    merged = merge(str(path), str(out))
    assert_whole(out)
    whole = load(out.parent / "whole" / "run.json")
    assert load(out / "run.json") == json.loads(json.dumps(merged))
    for key in ("format", "status", "problems", "skipped", "pictures", "simulated", "digests"):
        assert merged[key] == whole[key]
    assert [one["index"] for one in merged["shards"]] == [1, 2, 3]
    assert sum(one["pictures"] for one in merged["shards"]) == 5
    assert merged["summary"]["latency_ms"]["n"] == 5
    # One after the other on one device: no faster than its fastest pass, however many there were.
    (device,) = merged["summary"]["devices"]
    rates = [load(shard(out, one) / "run.json")["summary"] for one in (1, 2, 3)]
    for key in ("device_ips", "end_to_end_ips"):
        assert 0 < device[key] <= max(one[key] for one in rates)
        assert merged["summary"][key] <= device[key]
    assert sorted(one.name for one in (out / "shards").iterdir()) == ["1-of-3", "2-of-3", "3-of-3"]


@pytest.mark.parametrize("count", [1, 2, 5, 7])
def test_by_the_command_line_with_any_number_of_shards(path: Path, count: int) -> None:
    """Seven shards of five pictures: two are empty, and merge like the others."""
    out = path.parent / "out"
    elsewhere = []
    for index in range(count):
        folder = path.parent / f"host-{index}"
        environment = {**jobs.environment(), "JOB_COMPLETION_INDEX": str(index)}
        done = subprocess.run(
            jobs.command("run", path, folder, "--shard", f"/{count}"),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert jobs.events(done.stdout)[-1] == {"event": "done"}
        elsewhere.append(shard(folder, index + 1, count))
    done = jobs.call("merge", path, out, *reversed(elsewhere))
    assert done.returncode == 0, done.stdout + done.stderr
    assert_whole(out)


def test_a_skipped_picture_is_skipped_in_the_whole(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, keep_going=True)
    (tmp_path / "pictures" / "1.png").write_bytes(b"no picture")
    run(jobs.checked(content), str(tmp_path / "whole"))
    path = jobs.write(tmp_path / "job.json", content)
    for index in (1, 2):
        run_shard(str(path), str(tmp_path / "out"), Shard(index, 2))
    merged = merge(str(path), str(tmp_path / "out"))
    assert_whole(tmp_path / "out")
    whole = load(tmp_path / "whole" / "run.json")
    assert (merged["status"], merged["skipped"]) == (whole["status"], whole["skipped"])
    assert merged["pictures"] == 4


def test_a_network_that_finds_nothing(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    path = jobs.write(tmp_path / "job.json", content)

    def load_nothing(job: Job) -> Runner:
        return jobs.Scripted(jobs.nothing)

    run(jobs.checked(content), str(tmp_path / "whole"), load_nothing)
    for index in (1, 2):
        run_shard(str(path), str(tmp_path / "out"), Shard(index, 2), load_nothing)
    merge(str(path), str(tmp_path / "out"))
    assert_whole(tmp_path / "out")


def test_a_finished_shard_is_not_run_again(path: Path, out: Path) -> None:
    before = (shard(out, 2) / "run.json").stat()
    done = jobs.call("run", path, out, "--shard", "2/3")
    assert done.returncode == 0
    assert "not run again" in done.stdout
    assert (shard(out, 2) / "run.json").stat().st_mtime_ns == before.st_mtime_ns


def test_a_damaged_shard_is_run_again(path: Path, out: Path) -> None:
    (shard(out, 2) / "detections.json").write_bytes(b"[\n]\n")
    done = jobs.call("run", path, out, "--shard", "2/3")
    assert done.returncode == 0
    assert "It is run again" in done.stdout
    merge(str(path), str(out))
    assert_whole(out)


def test_a_job_whose_files_are_elsewhere_is_the_same_job(path: Path, out: Path) -> None:
    """Hosts may have networks and pictures at other paths."""
    moved = path.parent / "moved"
    moved.mkdir()
    (path.parent / "pictures").rename(moved / "pictures")
    (path.parent / "tiny.onnx").rename(moved / "tiny.onnx")
    shutil.rmtree(shard(out, 3))

    def move(job: dict[str, Any]) -> None:
        job["pictures"]["root"] = str(moved / "pictures")
        job["networks"][0]["path"] = str(moved / "tiny.onnx")

    edit(path, move)
    run_shard(str(path), str(out), Shard(3, 3))
    merge(str(path), str(out))
    assert_whole(out)


def test_another_job_does_not_overwrite_it(path: Path, out: Path) -> None:
    edit(path, lambda job: job["postprocess"].update(score_threshold=0.5))
    with pytest.raises(BundleError, match="the results of another job"):
        run_shard(str(path), str(out), Shard(1, 3))


def _missing(path: Path, out: Path) -> None:
    shutil.rmtree(shard(out, 2))


def _unfinished(path: Path, out: Path) -> None:
    (shard(out, 2) / "run.json").unlink()


def _doubled(path: Path, out: Path) -> None:
    shutil.rmtree(shard(out, 3))
    shutil.copytree(shard(out, 2), shard(out, 3))


def _other_count(path: Path, out: Path) -> None:
    run_shard(str(path), str(out), Shard(4, 4))


def _other_job(path: Path, out: Path) -> None:
    edit(path, lambda job: job["pictures"]["items"].pop())


def _other_model(path: Path, out: Path) -> None:
    other = path.parent / "other.onnx"
    other.write_bytes((path.parent / "tiny.onnx").read_bytes() + b"\x92\x01\x00")
    edit(path, lambda job: job.update(networks=[jobs.file(other)]))
    shutil.rmtree(shard(out, 2))
    run_shard(str(path), str(out), Shard(2, 3))
    edit(path, lambda job: job.update(networks=[jobs.file(path.parent / "tiny.onnx")]))


def _altered(name: str) -> Callable[[Path, Path], None]:
    def alter(path: Path, out: Path) -> None:
        file = shard(out, 2) / name
        file.write_bytes(file.read_bytes().replace(b"0", b"1", 1))

    return alter


def _other_runtime(path: Path, out: Path) -> None:
    edit(shard(out, 2) / "run.json", lambda run: run["environment"].update(runtime_version="0"))


def _other_bundle(path: Path, out: Path) -> None:
    edit(shard(out, 2) / "run.json", lambda run: run["digests"].update(bundle="0" * 64))


def _forged(change: Callable[[Path], None]) -> Callable[[Path, Path], None]:
    """Changes a shard's files, and its record to fit."""

    def forge(path: Path, out: Path) -> None:
        from bundle.sharded.record import digests

        change(shard(out, 2))
        found = digests(str(shard(out, 2)))
        edit(shard(out, 2) / "run.json", lambda run: run["shard"].update(files=found))

    return forge


def _lose(folder: Path) -> None:
    for name in SAME[1:]:
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        (folder / name).write_bytes(b"".join(lines[:-1]))


def _repeat(folder: Path) -> None:
    for name in SAME[1:]:
        lines = (folder / name).read_bytes().splitlines(keepends=True)
        (folder / name).write_bytes(b"".join([*lines, lines[-1]]))


def _borrow(folder: Path) -> None:
    for name in SAME[1:]:
        other = (folder.parent / "shard-1-of-3" / name).read_bytes().splitlines(keepends=True)
        with (folder / name).open("ab") as stream:
            stream.write(other[0])


def _garbage(folder: Path) -> None:
    (folder / "geometry.jsonl").write_bytes(b"\xff\x00 not json\n")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_missing, "1 of 3 shards are missing: 2"),
        (_unfinished, "not the folder of a finished shard"),
        (_doubled, "Shard 2/3 is there 2 times"),
        (_other_count, "the number of shards differs"),
        (_other_job, "is of another job"),
        (_other_model, "is of another model"),
        (_altered("detections.json"), "altered: detections.json"),
        (_altered("geometry.jsonl"), "altered: geometry.jsonl"),
        (_altered("times.csv"), "altered: times.csv"),
        (_other_runtime, "runtime_version differs"),
        (_other_bundle, "the bundle differs"),
        (_forged(_lose), "is missing"),
        (_forged(_repeat), "is there twice"),
        (_forged(_borrow), "has a picture that is not its own"),
        (_forged(_garbage), "is not what a pass writes"),
    ],
)
def test_what_is_refused(
    path: Path, out: Path, spoil: Callable[[Path, Path], None], text: str
) -> None:
    spoil(path, out)
    with pytest.raises(BundleError, match=text):
        merge(str(path), str(out))
    assert not (out / "run.json").exists()


def test_records_that_are_none(path: Path, out: Path) -> None:
    """Whatever is in a run.json, there is a sentence and no traceback."""
    record = shard(out, 2) / "run.json"
    content = load(record)
    for key in (*content, *(f"shard.{name}" for name in content["shard"])):
        for value in (None, [], {}, -1, "x", 1e400, True):
            changed = json.loads(json.dumps(content))
            parent = changed["shard"] if "." in key else changed
            parent[key.removeprefix("shard.")] = value
            record.write_text(json.dumps(changed), encoding="utf-8")
            try:
                merge(str(path), str(out))
            except BundleError:
                continue
    record.write_text("[" * 100000)
    with pytest.raises(BundleError, match="cannot be read"):
        merge(str(path), str(out))


def test_the_first_to_finish_counts(path: Path) -> None:
    """A host that was taken for dead finishes a shard that another one has done meanwhile."""
    out = path.parent / "out"
    began: list[Path] = []

    def slow(job: Job) -> Runner:
        began.extend(out.glob(".shard-1-of-1.*"))
        if len(began) == 1:
            run_shard(str(path), str(out), Shard(1, 1), slow)
        return jobs.Scripted(jobs.nothing)

    run_shard(str(path), str(out), Shard(1, 1), slow)
    # The one that began later left the folder of the other, which was at work, alone.
    assert len(set(began)) == 2
    assert [one.name for one in out.iterdir()] == ["shard-1-of-1"]
    assert read_shard(str(shard(out, 1, 1))).pictures == 5


def test_whoever_is_killed_leaves_a_shard_that_begins_anew(tmp_path: Path) -> None:
    """kill -9 at random moments, until every shard is finished all the same."""
    sizes = [jobs.SIZES[k % len(jobs.SIZES)] for k in range(40)]
    content = jobs.small(tmp_path)
    content["pictures"]["items"] = jobs.write_pictures(tmp_path / "pictures", sizes)
    run(jobs.checked(content), str(tmp_path / "whole"))
    path = jobs.write(tmp_path / "job.json", content)
    out = tmp_path / "out"
    chance = random.Random(7)
    kills = 0
    for index in (1, 2):
        # Moments of the work, not of the clock, which does not know how fast a machine is.
        moments = [f"{phase} {chance.uniform(0, 0.02)}" for phase in ("scored", "warmup")]
        while not shard(out, index, 2).exists():
            process = subprocess.Popen(
                jobs.command("run", path, out, "--shard", f"{index}/2"),
                env=jobs.environment(),
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            if moments:
                phase, _, seconds = moments.pop().partition(" ")
                assert process.stdout is not None
                next(line for line in process.stdout if f'"phase": "{phase}' in line)
                time.sleep(float(seconds))
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += process.returncode == -signal.SIGKILL
            assert not (out / "run.json").exists()
    assert kills >= 2
    merge(str(path), str(out))
    assert_whole(out)
    # What the killed ones left is gone.
    assert not list(out.glob(".shard-*"))
