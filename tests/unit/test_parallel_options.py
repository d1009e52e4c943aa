"""BATCH and STREAMS in plans: rows of their own, and where they make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.pipeline.planner import plan

from tests.helpers import contexts


def planned(tmp_path: Path, target: str = "cpu", **options: Any) -> Any:
    places = {"build": tmp_path / "build", "results": tmp_path / "results"}
    return plan(contexts.context(target, model="demo", data="demo", **places, **options))


def test_each_is_a_row_of_its_own(tmp_path: Path) -> None:
    rows = {
        "cpu": {},
        "cpu-streams-2": {"streams": 2},
        "cpu-streams-auto": {"streams": "auto"},
        "cpu-batch-2": {"batch": 2},
        "cpu-streams-2-batch-4": {"streams": 2, "batch": 4},
    }
    found = {name: planned(tmp_path, **options) for name, options in rows.items()}
    assert [made.row for made in found.values()] == list(rows)
    assert found["cpu-streams-2-batch-4"].title == "CPU, onnxruntime (2 streams, batch 4)"
    assert found["cpu-streams-auto"].title == "CPU, onnxruntime (streams chosen by measuring)"
    # One of each is how every row is run.
    assert planned(tmp_path, streams=1, batch=1).row == "cpu"


def test_the_job_says_how(tmp_path: Path) -> None:
    settings = planned(tmp_path, streams="auto", batch=3).stage("infer").parameters["settings"]
    assert settings["runner"]["streams"] == "auto"
    assert settings["input"]["pictures"] == 3
    assert settings["stream"] == {"workers": "auto", "queue": 4}
    usual = planned(tmp_path).stage("infer").parameters["settings"]
    assert "streams" not in usual["runner"]
    assert "pictures" not in usual["input"]


def test_a_batch_comes_with_its_network_for_one_picture(tmp_path: Path) -> None:
    """Which is that of the usual row: nothing is made twice."""
    one, several = planned(tmp_path), planned(tmp_path, batch=2)
    folders = [
        [stage.folder.name for stage in made.stages if stage.name == "lower"]
        for made in (one, several)
    ]
    assert folders[1] == ["onnxruntime-batch2", *folders[0]]
    inputs = several.stage("infer").inputs
    assert {"network", "single"} <= set(inputs)
    assert "single" not in one.stage("infer").inputs


@pytest.mark.parametrize("option", ["streams", "batch"])
@pytest.mark.parametrize("target", ["310", "310P3"])
def test_ascend_takes_neither(tmp_path: Path, target: str, option: str) -> None:
    with pytest.raises(CascadeportError, match=f"--{option} supports only the targets"):
        planned(tmp_path, target, **{option: 2})


def test_a_gpu_has_no_cores_to_share(tmp_path: Path) -> None:
    from cascadeport import backends
    from cascadeport.config.options import Options

    gpu = backends.of(contexts.context("cpu").targets["T4"])
    with pytest.raises(CascadeportError, match="takes one picture after the other"):
        gpu.streams(Options(target="T4", streams=2))
    assert gpu.streams(Options(target="T4")) is None
    assert gpu.pictures(Options(target="T4", batch=4)) == 4


def test_more_streams_than_threads(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="4 pictures at once cannot share 2 threads"):
        planned(tmp_path, streams=4, threads=2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"batch": 2, "lowering": "onnxruntime-1.9"}, "lowered by 'onnxruntime-1.9'"),
        ({"batch": 2, "precision": "int8"}, "of int8"),
    ],
)
def test_networks_for_one_picture_only(tmp_path: Path, options: Any, reason: str) -> None:
    with pytest.raises(CascadeportError, match=f"A network {reason} takes one picture at a time"):
        planned(tmp_path, **options)


def test_tensors_of_several_pictures_are_not_explained(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from cascadeport.explain import rows

    one, several = (
        SimpleNamespace(name=f"row {n}", folder=tmp_path, job={"input": {"pictures": n}})
        for n in (1, 2)
    )
    with pytest.raises(CascadeportError, match="row 2 takes several pictures at once") as caught:
        rows._check(one, several)  # type: ignore[arg-type]
    assert "without BATCH" in caught.value.next
