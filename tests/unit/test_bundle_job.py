"""The job is checked once more by the bundle, and all its errors are reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bundle.errors import BundleError
from bundle.job import check_job, read_job
from tests.helpers import bundle_jobs as jobs

ITEMS = [jobs.item(1, "a.jpg", 4, 3)]


def errors(content: Any) -> str:
    with pytest.raises(BundleError) as caught:
        check_job(content, "/")
    return caught.value.what


def test_a_good_job_is_read_and_its_paths_start_at_its_folder(tmp_path: Path) -> None:
    content = jobs.job(Path("pictures"), ITEMS)
    content["networks"] = [{"path": "m.onnx", "sha256": "ab"}]
    job = read_job(str(jobs.write(tmp_path / "job.json", content)))
    assert job.runner.files == str(tmp_path / "m.onnx")
    assert job.path(job.pictures[0]) == str(tmp_path / "pictures" / "a.jpg")
    (network,) = job.runner.networks
    assert (network.sha256, network.shape) == ("ab", (jobs.SIZE, jobs.SIZE))
    assert job.preprocess.batch(network.shape) == (1, 3, jobs.SIZE, jobs.SIZE)
    assert job.category_ids == (3, 11, 5)


def test_absolute_paths_stay(tmp_path: Path) -> None:
    job = check_job(jobs.job(tmp_path / "there", ITEMS), "/elsewhere")
    assert job.path(job.pictures[0]) == str(tmp_path / "there" / "a.jpg")


def test_all_errors_are_reported_at_once() -> None:
    content = jobs.job(Path("p"), ITEMS)
    del content["classes"]
    content["input"]["dtype"] = "float16"
    content["preprocess"]["std"] = [1, 0, 1]
    content["stream"]["workers"] = 0
    content["pictures"]["items"] = [{"id": "7", "file": "a", "width": 0, "height": 2}]
    text = errors(content)
    for part in (
        "classes is missing",
        "input.dtype is 'float16', not one of float32, uint8",
        "preprocess.std is not positive",
        "stream.workers is 0, less than 1",
        "pictures.items[0].id is not an integer",
        "pictures.items[0].width is 0, less than 1",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("input", "shapes", [], "input.shapes is not a list of [height, width]"),
        ("input", "shapes", [96], "input.shapes is not a list of [height, width]"),
        ("input", "shapes", [[96, 0]], "input.shapes is not a list of [height, width]"),
        ("input", "shapes", [[96, 96]] * 2, "input.shapes contains a shape twice"),
        ("input", "multiple", 0, "input.multiple is 0, less than 1"),
        ("input", "multiple", 32.0, "input.multiple is not an integer"),
        ("input", "shapes", [[95, 96]], "input.shapes has no shape for a picture of 96x96"),
        ("input", "resize", [128, 96], "no shape for a picture of 96x128"),
        ("input", "resize", [96, 128], "no shape for a picture of 128x96"),
        ("input", "resize", 96, "input.resize is not a list"),
        ("input", "resize", [96], "input.resize is not two integers above 0"),
        ("input", "resize", [96, True], "input.resize is not two integers above 0"),
        ("preprocess", "mean", [1, 2], "preprocess.mean is not 3 numbers"),
        ("preprocess", "mean", [1, 2, float("nan")], "preprocess.mean is not 3 numbers"),
        ("preprocess", "padding", "left", "preprocess.padding is 'left'"),
        ("postprocess", "score_threshold", "0.1", "score_threshold is not a number"),
        ("postprocess", "score_threshold", float("inf"), "score_threshold is not finite"),
        ("measure", "repeats", True, "measure.repeats is not an integer"),
        ("pictures", "items", [], "pictures.items is empty"),
        ("pictures", "items", ITEMS * 2, "an id twice"),
    ],
)
def test_invalid_values(section: str, key: str, value: Any, message: str) -> None:
    assert message in errors(jobs.job(Path("p"), ITEMS, **{section: {key: value}}))


def test_one_network_for_each_shape_or_one_for_all() -> None:
    content = jobs.job(Path("p"), ITEMS, input={"shapes": [[96, 96], [96, 128], [128, 96]]})
    assert [one.shape for one in check_job(content, "/").runner.networks] == [None]
    content["networks"] *= 2
    assert "networks has 2 items, input.shapes 3 shapes" in errors(content)
    content["networks"] = content["networks"][:1] * 3
    assert check_job(content, "/").runner.networks[2].shape == (128, 96)
    content["input"]["multiple"] = 32
    assert "networks has 3 items; one takes every shape" in errors(content)


@pytest.mark.parametrize("content", [[], "x", {"format": 2}, {}])
def test_another_format_is_refused(content: Any) -> None:
    assert "reads format 3" in errors(content)


def test_a_job_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{")
    for name in ("job.json", "absent.json"):
        with pytest.raises(BundleError, match="cannot be read"):
            read_job(str(tmp_path / name))
