"""The bundle on its oldest Python, onnxruntime and OpenCV: the same results to the last byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundle.run import run
from bundle.runners.aclruntime.bins import write_bins
from tests.helpers import bundle_jobs as jobs

pytestmark = pytest.mark.py37


@pytest.mark.parametrize(
    ("dtype", "own_process"), [("float32", False), ("uint8", False), ("uint8", True)]
)
def test_a_run_gives_the_same_detections_and_geometry(
    tmp_path: Path, py37: Path, dtype: str, own_process: bool
) -> None:
    runner = {"options": {"own_process": own_process}}
    content = jobs.small(tmp_path, input={"dtype": dtype}, runner=runner, draw=1)
    run(jobs.checked(content), str(tmp_path / "here"))
    path = jobs.write(tmp_path / "job.json", content)
    done = jobs.call("run", path, tmp_path / "there", python=py37)
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs.events(done.stdout)[-1] == {"event": "done"}
    for name in ("detections.json", "geometry.jsonl"):
        here, there = (tmp_path / side / name for side in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()
    assert (tmp_path / "there" / "drawn" / "7.jpg").exists()


def test_shards_of_either_python_merge_into_the_same(tmp_path: Path, py37: Path) -> None:
    content = jobs.small(tmp_path)
    run(jobs.checked(content), str(tmp_path / "here"))
    path = jobs.write(tmp_path / "job.json", content)
    for arguments in (("run", "--shard", "1/2"), ("run", "--shard", "2/2"), ("merge",)):
        command, *more = arguments
        done = jobs.call(command, path, tmp_path / "there", *more, python=py37)
        assert done.returncode == 0, done.stdout + done.stderr
    for name in ("detections.json", "geometry.jsonl", "pictures.jsonl"):
        here, there = (tmp_path / side / name for side in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()


def test_the_network_input_is_the_same(tmp_path: Path, py37: Path) -> None:
    content = jobs.small(tmp_path)
    write_bins(jobs.checked(content), str(tmp_path / "here"))
    path = jobs.write(tmp_path / "job.json", content)
    done = jobs.call("bins-write", path, tmp_path / "there", python=py37)
    assert done.returncode == 0, done.stdout + done.stderr
    names = sorted(one.name for one in (tmp_path / "here" / "bins").iterdir())
    assert len(names) == 5
    for name in names:
        here, there = (tmp_path / side / "bins" / name for side in ("here", "there"))
        assert here.read_bytes() == there.read_bytes()


def test_an_error_there_is_an_error_event(tmp_path: Path, py37: Path) -> None:
    content = jobs.small(tmp_path)
    (tmp_path / "pictures" / "2.png").write_bytes(b"")
    path = jobs.write(tmp_path / "job.json", content)
    done = jobs.call("run", path, tmp_path / "out", python=py37)
    assert done.returncode == 2
    assert jobs.events(done.stdout)[-1]["what"] == "The picture is empty: 0 bytes."
    assert "Traceback" not in done.stderr


def test_the_self_check(py37: Path) -> None:
    done = jobs.call("selfcheck", python=py37)
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs.events(done.stdout)[0]["versions"]["python"].startswith("3.7.")
