"""One target's result: its content, when it is invalid, and files of other versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cascadeport import datasets
from cascadeport.base.errors import CascadeportError
from cascadeport.results import result as results
from cascadeport.results import run_record
from cascadeport.results.collate import assemble

from tests.helpers import finished


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"))


def test_a_complete_run_is_measured(tmp_path: Path, boxes: datasets.Dataset) -> None:
    result = finished.finish(tmp_path, boxes, semantics=["NMS in float16."])
    assert (result.status, result.reason) == ("measured", "")
    assert result.pictures == len(boxes.items)
    assert result.map == result.evaluation.stats["AP"]
    assert result.device_ips == 50
    assert result.latency_ms is not None
    assert result.latency_ms.p90 is None
    values = json.loads((tmp_path / "cpu" / "result.json").read_text())
    assert values["semantics"] == ["NMS in float16."]
    assert set(values["run"]["summary"]["spread"]) == {"chip_ips", "device_ips", "end_to_end_ips"}
    assert "folder" not in values
    times = result.file("times")
    assert times is not None
    assert times.is_file()
    assert result.file("nothing") is None


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ({"problems": ["The provider fell back to the CPU."]}, "The provider fell back to the CPU"),
        (
            {"status": "partial", "skipped": [{"id": 1, "file": "x.jpg", "reason": "broken"}]},
            "1 of 14 pictures were skipped",
        ),
        ({"status": "partial"}, "the pass is not complete"),
        (
            {
                "status": "partial",
                "problems": ["1 of 14 pictures were skipped: x.jpg"],
                "skipped": [{"id": 1, "file": "x.jpg", "reason": "broken"}],
            },
            "1 of 14 pictures were skipped: x.jpg",
        ),
    ],
)
def test_a_run_that_broke_a_rule_is_invalid(
    tmp_path: Path, boxes: datasets.Dataset, run: dict[str, Any], reason: str
) -> None:
    result = finished.finish(tmp_path, boxes, **run)
    assert (result.status, result.reason) == ("invalid", reason)


def test_pictures_without_a_result_make_it_invalid(tmp_path: Path, boxes: datasets.Dataset) -> None:
    made = finished.finish(tmp_path, boxes)
    fewer = made.run.model_copy(update={"pictures": 12})
    again = assemble(
        target="cpu",
        title="CPU",
        model=made.model,
        dataset=made.dataset.model_copy(update={"pictures": 15}),
        model_digest="m",
        dataset_digest="d",
        pictures_digest="p",
        semantics=[],
        settings={},
        evaluation=made.evaluation,
        run=fewer,
    )
    assert again.status == "invalid"
    assert again.reason == ("14 pictures were evaluated instead of 15; 3 pictures have no result")


@pytest.mark.parametrize("problems", [[], ["A chip was busy."]])
def test_a_simulated_run_has_no_throughput_anywhere(
    tmp_path: Path, boxes: datasets.Dataset, problems: list[str]
) -> None:
    result = finished.finish(tmp_path, boxes, simulated=True, problems=problems)
    assert result.status == ("invalid" if problems else "simulated")
    assert result.device_ips is result.end_to_end_ips is result.latency_ms is None
    assert result.map is not None
    values = json.loads((tmp_path / "cpu" / "result.json").read_text())
    assert "50.0" not in json.dumps(values["run"])
    assert values["run"]["summary"]["steps_ms"] == {}


def test_equal_results_have_equal_bytes(tmp_path: Path, boxes: datasets.Dataset) -> None:
    result = finished.finish(tmp_path, boxes)
    content = (tmp_path / "cpu" / "result.json").read_bytes()
    results.write(results.load(tmp_path / "cpu" / "result.json"), tmp_path / "cpu")
    assert (tmp_path / "cpu" / "result.json").read_bytes() == content
    assert result == results.load(tmp_path / "cpu" / "result.json")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "format None"),
        (b'{"format": 7}', "format 7; this version reads format 2"),
        (b'{"format": 2, "map": NaN}', "holds NaN"),
        (b'{"format": 2}', "not valid"),
    ],
)
def test_a_result_that_cannot_be_used(tmp_path: Path, content: bytes, error: str) -> None:
    path = tmp_path / "result.json"
    path.write_bytes(content)
    with pytest.raises(CascadeportError) as raised:
        results.load(path)
    assert error in raised.value.what
    assert raised.value.where == str(path)
    assert "Run the target again" in raised.value.next


def test_a_missing_result(tmp_path: Path) -> None:
    with pytest.raises(CascadeportError, match="does not exist"):
        results.load(tmp_path / "result.json")


def test_a_record_of_a_run_without_its_digests(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record = finished.run_record(3)
    del record["digests"]["bundle"]
    path.write_text(json.dumps(record))
    with pytest.raises(CascadeportError) as raised:
        run_record.load(path)
    assert raised.value.details == ["digests.bundle: field required"]
