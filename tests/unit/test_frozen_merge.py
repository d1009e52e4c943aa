"""merge in a frozen image: shards of infer become one run's results; anything less is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder
from tests.helpers.frozen_folder import call

SAME = ("detections.jsonl", "detections.json", "pictures.json", "infer.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A frozen folder, with pictures beside it, and three finished shards of them in `out`."""
    found = frozen_folder.small(tmp_path)
    for index in (1, 2, 3):
        shard(found, index, 3)
    return found


def shard(folder: Path, index: int, count: int, out: str = "out", *more: str) -> None:
    root = folder.parent
    done = call(
        folder, "infer", root / "pictures", root / out, "--shard", f"{index}/{count}", *more
    )
    assert done.returncode in (0, 1), done.stderr


def test_the_merged_results_are_those_of_one_run(folder: Path, tmp_path: Path) -> None:
    done = call(folder, "infer", tmp_path / "pictures", tmp_path / "whole", "--format", "coco")
    assert done.returncode == 0, done.stderr
    done = call(folder, "merge", tmp_path / "out", "--format", "coco")
    assert done.returncode == 0, done.stderr
    for name in SAME:
        found, wanted = tmp_path / "out" / name, tmp_path / "whole" / name
        assert found.read_bytes() == wanted.read_bytes(), name


def test_shards_of_several_hosts_with_a_skipped_picture(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures" / "1.png").write_bytes(b"no picture")
    done = call(folder, "infer", tmp_path / "pictures", tmp_path / "whole")
    assert done.returncode == 1, done.stderr
    for index in (1, 2):
        shard(folder, index, 2, f"host-{index}")
    done = call(folder, "merge", tmp_path / "here", tmp_path / "host-2", tmp_path / "host-1")
    assert done.returncode == 1, done.stderr  # complete, but a picture was skipped
    for name in ("detections.jsonl", "infer.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def _edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _missing(folder: Path, out: Path) -> None:
    (out / "infer.2-of-3.json").unlink()


def _doubled(folder: Path, out: Path) -> None:
    for path in out.glob("*.2-of-3.json*"):
        shutil.copy(path, out / path.name.replace("2-of-3", "02-of-3"))


def _running(folder: Path, out: Path) -> None:
    _edit(out / "infer.2-of-3.json", lambda record: record.update(state="running"))


def _altered(folder: Path, out: Path) -> None:
    path = out / "detections.2-of-3.jsonl"
    path.write_bytes(path.read_bytes().replace(b"score", b"Score", 1))


def _torn(folder: Path, out: Path) -> None:
    path = out / "detections.2-of-3.jsonl"
    path.write_bytes(path.read_bytes()[:-9])


def _other_pictures(folder: Path, out: Path) -> None:
    jobs.write_picture(folder.parent / "pictures" / "9.png", 64, 64)
    shard(folder, 2, 3, "out", "--again")


def _other_count(folder: Path, out: Path) -> None:
    shard(folder, 4, 4)


def _swapped(folder: Path, out: Path) -> None:
    for name in ("infer.{}.json", "detections.{}.jsonl"):
        first, second = out / name.format("1-of-3"), out / name.format("2-of-3")
        content = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(content)


def _other_image(folder: Path, out: Path) -> None:
    _edit(out / "infer.2-of-3.json", lambda record: record["run"].update(networks="0" * 64))


def _none(folder: Path, out: Path) -> None:
    for path in out.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_missing, "1 of 3 shards are missing: 2"),
        (_doubled, "Shard 2/3 is there 2 times"),
        (_running, "Shard 2/3 is not finished"),
        (_altered, "its lines are not what its record says"),
        (_torn, "its lines are not what its record says"),
        (_other_pictures, "are of other pictures"),
        (_other_count, "do not belong together"),
        (_swapped, "its record is that of shard"),
        (_other_image, "of another image: networks differs"),
        (_none, "There are no results of shards"),
    ],
)
def test_what_is_refused(
    folder: Path, tmp_path: Path, spoil: Callable[[Path, Path], None], text: str
) -> None:
    spoil(folder, tmp_path / "out")
    done = call(folder, "merge", tmp_path / "out")
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "detections.jsonl").exists()
