"""Stage folders: written atomically, skipped while their digests hold, locked for one run."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from cascadeport.base import files
from cascadeport.base.errors import CascadeportError
from cascadeport.core import store


def make(folder: Path, key: str = "k", content: str = "product") -> None:
    with store.writing(folder, key, {"stage": "test"}) as temporary:
        (temporary / "product.txt").write_text(content)


def test_written_atomically_and_then_up_to_date(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "stage"
    assert store.freshness(folder, "k").reason == "not done yet"
    make(folder)
    assert store.freshness(folder, "k").is_up_to_date
    assert not store.freshness(folder, "other").is_up_to_date
    assert [path.name for path in folder.parent.iterdir()] == ["stage"]


def test_a_failure_leaves_the_finished_product(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    make(folder, content="finished")
    with pytest.raises(RuntimeError), store.writing(folder, "new", {}) as temporary:
        (temporary / "product.txt").write_text("partial")
        raise RuntimeError
    assert (folder / "product.txt").read_text() == "finished"
    assert store.freshness(folder, "k").is_up_to_date
    assert [path.name for path in tmp_path.iterdir()] == ["stage"]


def test_a_failed_stage_is_kept_when_asked(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    with pytest.raises(RuntimeError), store.writing(folder, "k", {}, keep_failed=True) as temporary:
        (temporary / "partial.txt").write_text("partial")
        raise RuntimeError
    assert (tmp_path / "stage.failed" / "partial.txt").read_text() == "partial"
    assert not folder.exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: (f / "product.txt").unlink(), "product.txt is missing"),
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
    assert store.freshness(folder, "k") == store.Freshness(False, reason)
    make(folder)
    assert store.freshness(folder, "k").is_up_to_date


def test_a_folder_of_another_version_is_made_anew(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    make(folder)
    record = json.loads((folder / "stage.json").read_text())
    (folder / "stage.json").write_text(json.dumps({**record, "format": 0}))
    assert "another version" in store.freshness(folder, "k").reason


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
def test_disk_errors_become_sentences(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "stage"
    make(folder)
    with pytest.raises(CascadeportError) as caught, store.writing(folder, "new", {}):
        raise OSError(number, os.strerror(number), "/somewhere/file")
    assert caught.value.where == "/somewhere/file"
    assert "Finished stages are kept" in caught.value.next
    assert store.freshness(folder, "k").is_up_to_date


def test_a_file_is_replaced_atomically(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    files.write_text(path, "one")
    files.write_text(path, "two")
    assert path.read_text() == "two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table.json"]
