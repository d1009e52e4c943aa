"""Stage folders: whole or absent, skipped only while their digests stand, one run at a time."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.core import store


def make(folder: Path, key: str = "k", content: str = "product") -> None:
    with store.writing(folder, key, {"stage": "test"}) as temporary:
        (temporary / "product.txt").write_text(content)


def test_written_whole_and_then_current(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "stage"
    assert store.standing(folder, "k").reason == "not done yet"
    make(folder)
    assert store.standing(folder, "k").current
    assert not store.standing(folder, "other").current
    assert [path.name for path in folder.parent.iterdir()] == ["stage"]


def test_a_failure_leaves_the_finished_product(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    make(folder, content="finished")
    with pytest.raises(RuntimeError), store.writing(folder, "new", {}) as temporary:
        (temporary / "product.txt").write_text("half")
        raise RuntimeError
    assert (folder / "product.txt").read_text() == "finished"
    assert store.standing(folder, "k").current
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_a_failed_stage_is_kept_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    with pytest.raises(RuntimeError), store.writing(folder, "k", {}, keep_failed=True) as temporary:
        (temporary / "half.txt").write_text("half")
        raise RuntimeError
    assert (tmp_path / "stage.failed" / "half.txt").read_text() == "half"
    assert not folder.exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: (f / "product.txt").unlink(), "product.txt is gone"),
        (lambda f: (f / "product.txt").write_text("prod"), "product.txt has another size"),
        (lambda f: (f / "product.txt").write_text("PRODUCT"), "product.txt has other content"),
        (lambda f: (f / "stage.json").write_text("{"), "its record cannot be read"),
        (lambda f: (f / "stage.json").write_text("[]"), "its record cannot be read"),
        (lambda f: (f / "stage.json").unlink(), "its record cannot be read"),
    ],
)
def test_damage_is_noticed(tmp_path: Path, damage, reason: str) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "stage"
    make(folder)
    damage(folder)
    assert store.standing(folder, "k") == store.Standing(False, reason)
    make(folder)
    assert store.standing(folder, "k").current


def test_a_folder_of_an_older_version_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    make(folder)
    record = json.loads((folder / "stage.json").read_text())
    (folder / "stage.json").write_text(json.dumps({**record, "format": 0}))
    assert "another version" in store.standing(folder, "k").reason


def _hold(folder: Path, held: Event, release: Event) -> None:
    with store.locked(folder):
        held.set()
        release.wait(30)


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held, release))
    process.start()
    try:
        assert held.wait(30)
        with pytest.raises(CascadeportError, match=f"process {process.pid}"):
            with store.locked(tmp_path):
                pass
    finally:
        release.set()
        process.join()
    with store.locked(tmp_path):
        pass


def test_a_killed_run_leaves_no_lock_and_its_leftovers_go(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, held, release))
    process.start()
    assert held.wait(30)
    leftover = tmp_path / ".infer.tmp-abc"
    leftover.mkdir()
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with store.locked(tmp_path):
        assert not leftover.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_disk_refuses_is_a_sentence(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "stage"
    make(folder)
    with pytest.raises(CascadeportError) as caught, store.writing(folder, "new", {}):
        raise OSError(number, os.strerror(number), "/somewhere/file")
    assert caught.value.where == "/somewhere/file"
    assert "Finished stages are kept" in caught.value.next
    assert store.standing(folder, "k").current


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    store.write_text(path, "one")
    store.write_text(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.json"]
