"""Records that something else has written over: of stages, of results, of evaluations, of runs."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cascadeport import evaluation
from cascadeport.base.errors import CascadeportError
from cascadeport.base.files import write_json
from cascadeport.core import store
from cascadeport.results import comparison
from cascadeport.results import result as results

from tests.helpers import finished

ODD: list[Any] = [None, True, 3, -1, 1.5, 10**400, "text", "\x1b", [], [1], {}, {"a": {}}]
RAW = [b"", b"{", b"[" * 100_000, b"1" * 5000, b"\xff", b'{"format": NaN}', b"null", b"[]", b'"x"']


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values of a document, one of every list."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key in list(value)[:12]:
            found += leaves(value[key], (*path, key))
    elif isinstance(value, list) and value:
        found += leaves(value[0], (*path, 0))
    return found


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> bytes:
    copy = json.loads(json.dumps(document))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(copy).encode()


def variants(document: Any) -> list[bytes]:
    odd = [replaced(document, path, value) for path in leaves(document) for value in ODD]
    return [*RAW, *odd]


def test_the_record_of_a_stage(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    with store.writing(folder, "key", {"stage": "test"}) as temporary:
        (temporary / "product.txt").write_text("product")
    path = folder / store.RECORD
    document = json.loads(path.read_text())
    for name in ("\0", "x" * 5000, "/dev/zero", ".", "\ud800"):
        path.write_bytes(replaced(document, ("files",), {name: {"bytes": 1, "sha256": "0"}}))
        assert not store.freshness(folder, "key").is_up_to_date
    for content in variants(document):
        path.write_bytes(content)
        store.freshness(folder, "key")
    path.unlink()
    os.mkfifo(path)
    assert store.freshness(folder, "key").reason == "its record cannot be read"
    path.unlink()
    path.mkdir()
    assert store.freshness(folder, "key").reason == "its record cannot be read"


@pytest.mark.parametrize("content", [b"[]", b"3", b"[" * 100_000])
def test_the_holder_of_a_lock(tmp_path: Path, content: bytes) -> None:
    with store.locked(tmp_path):
        (tmp_path / ".lock.json").write_bytes(content)
        with pytest.raises(CascadeportError, match="Another run"), store.locked(tmp_path):
            pass


def test_a_folder_in_place_of_the_holder(tmp_path: Path) -> None:
    (tmp_path / ".lock.json").mkdir()
    with store.locked(tmp_path):
        assert (tmp_path / ".lock.json").is_file()


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> results.Result:
    folder = tmp_path_factory.mktemp("result")
    return finished.finish(folder / "results", finished.dataset(folder / "data", 5))


def test_a_result(result: results.Result, tmp_path: Path) -> None:
    path = results.write(result, tmp_path)
    for content in variants(json.loads(path.read_text())):
        path.write_bytes(content)
        with contextlib.suppress(CascadeportError):
            results.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CascadeportError, match="is a folder, not a file"):
        results.load(path)


def test_a_folder_in_place_of_a_result_does_not_stop_the_others(tmp_path: Path) -> None:
    of = finished.dataset(tmp_path / "boxes")
    finished.finish(tmp_path / "results", of)
    (tmp_path / "results" / "T4" / results.NAME).mkdir(parents=True)
    known = finished.known(tmp_path / "results", of)
    other, honest = comparison.collect(tmp_path / "results", known)
    assert (other.target, other.result) == ("T4", None)
    assert "does not exist" in other.reason
    assert honest.result is not None


def test_an_evaluation(result: results.Result, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    done = result.evaluation
    document = done.model_dump(mode="json")
    for content in variants(document):
        path.write_bytes(content)
        with contextlib.suppress(CascadeportError):
            found = evaluation.read(path)
            # What collation and report read of it.
            assert {"AP", "AP50", "AP75"} <= set(found.stats)
            assert set(found.pr_curves) == {"iou50", "iou75"}
    for curves in document["pr_curves"].values():
        curves["recall"] = curves["recall"][:-1]
    path.write_text(json.dumps(document))
    with pytest.raises(CascadeportError, match="not in the format"):
        evaluation.read(path)


def test_names_that_are_no_unicode_are_written_and_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_json(tmp_path / "x.json", {"root": name})
    assert json.loads((tmp_path / "x.json").read_bytes()) == {"root": name}
