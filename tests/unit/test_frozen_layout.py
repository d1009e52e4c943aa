"""frozen.json: what is read from it, and every way in which it can be wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bundle.errors import BundleError
from bundle.frozen.layout import Label, read_frozen
from bundle.job import Picture
from tests.helpers import bundle_jobs as jobs
from tests.helpers import frozen_folder


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edits frozen.json."""
    path = folder / "frozen.json"
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_what_is_frozen_is_the_job_of_the_run(tmp_path: Path) -> None:
    labels = [{"name": "forced", "reason": "The verdict is undecided."}]
    frozen = read_frozen(str(frozen_folder.small(tmp_path, labels=labels)))
    wanted = jobs.checked(jobs.small(tmp_path))
    assert frozen.job.preprocess == wanted.preprocess
    assert frozen.job.class_names == wanted.class_names
    assert frozen.job.pictures == ()
    assert frozen.job.runner.networks[0].sha256 == wanted.runner.networks[0].sha256
    assert frozen.job.runner.networks[0].path == str(tmp_path / "frozen/networks/tiny.onnx")
    assert frozen.labels == (Label("forced", "The verdict is undecided."),)
    assert frozen.warnings == ("FORCED: The verdict is undecided.",)
    picture = Picture(1, "a.png", 4, 4)
    job = frozen.with_pictures("/somewhere", [picture])
    assert (job.path(picture), job.pictures) == ("/somewhere/a.png", (picture,))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda one: one.update(format=2), "The format is 2"),
        (lambda one: one.pop("name"), "name is missing"),
        (lambda one: one.update(name="../up"), "name '../up' is not at most 64"),
        (lambda one: one.update(version="1\n"), "version '1\\n' is not at most"),
        (lambda one: one.update(labels=[{"name": "fine", "reason": "x"}]), "is 'fine', not one"),
        (lambda one: one.update(labels={}), "labels is not a list"),
        (lambda one: one["job"].update(draw=3), "job.draw does not belong"),
        (lambda one: one["job"]["networks"][0].update(path="../x.onnx"), "is not below"),
        (lambda one: one["job"]["networks"][0].update(path="/x.onnx"), "is not below"),
        (
            lambda one: one["job"]["networks"][0].update(files=[{"path": "a/../../b"}]),
            "is not below",
        ),
        (lambda one: one["job"]["input"].update(dtype="int4"), "input.dtype is 'int4'"),
        (lambda one: one.update(job=[]), "job is not an object"),
        (lambda one: one["digests"].update(bundle="0" * 64), "not the one that the run was made"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = frozen_folder.small(tmp_path)
    change(folder, edit)
    with pytest.raises(BundleError) as caught:
        read_frozen(str(folder))
    assert message in str(caught.value)
    assert "frozen.json" in caught.value.where


@pytest.mark.parametrize("content", ["", "[1", "[]", "[" * 100_000, '{"format": 1}'])
def test_a_damaged_file_is_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "frozen.json").write_text(content)
    with pytest.raises(BundleError):
        read_frozen(str(tmp_path))
