"""Rows of several pictures at once: their rate follows from their times, or they are INVALID."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cascadeport import datasets
from cascadeport.results import collate
from cascadeport.results.result import Result

from bundle.measure import HEADER, OVERLAPPING, read_times, summarise
from tests.helpers import finished

RUNNER = {
    "threads": 4,
    "name": "onnxruntime",
    "provider": "CPUExecutionProvider",
    "options": {},
}
Began = Callable[[int, float, float], float]


def honest(index: int, finished_ms: float, device_ms: float) -> float:
    """Two streams: each picture ends when it is finished, and began one picture earlier."""
    return finished_ms - device_ms


def row(
    folder: Path, of: datasets.Dataset, began: Began, asked: Any = 2, **environment: Any
) -> Result:
    """A row of so many streams, whose file of times says when the network began."""
    finished.finish(folder, of, settings={"runner": {**RUNNER, "streams": asked}})
    home = folder / "cpu"
    path = home / "infer" / "times.csv"
    head, *lines = path.read_text().splitlines()
    assert head == HEADER.strip()
    made = [OVERLAPPING.strip()]
    for index, line in enumerate(lines):
        *cells, ended = line.split(",")
        # A millisecond later, so that the first picture does not begin before the pass.
        cells.append(f"{float(ended) + 1:.4f}")
        value = began(index, float(cells[-1]), float(cells[6]))
        made.append(",".join([*cells, f"{value:.4f}"]))
    path.write_text("\n".join(made) + "\n")
    summary = summarise([one.times for one in read_times(str(path))], workers=1)

    def edit(record: Any) -> None:
        record["summary"] = summary
        record["environment"].update(environment)

    finished.rewrite(home / "infer" / "run.json", edit)
    finished.seal(home)
    return collate.compute(home, finished.known(folder, of))


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> datasets.Dataset:
    return finished.dataset(tmp_path_factory.mktemp("boxes"))


def test_an_honest_row_is_measured(tmp_path: Path, boxes: datasets.Dataset) -> None:
    found = row(tmp_path, boxes, honest)
    assert found.reason == ""
    assert found.status == "measured"
    assert found.end_to_end_ips is not None
    assert found.device_ips == pytest.approx(found.end_to_end_ips, rel=0.05)
    assert found.latency_ms is not None
    assert found.latency_ms.mean == pytest.approx(20)


def test_pictures_that_all_began_at_once(tmp_path: Path, boxes: datasets.Dataset) -> None:
    """It would be a rate of many times the real one."""
    found = row(tmp_path, boxes, lambda index, ended, device: 1.0)
    assert found.status == "invalid"
    assert "14 pictures at once, the job has 2" in found.reason


def test_pictures_finished_before_their_network(tmp_path: Path, boxes: datasets.Dataset) -> None:
    found = row(tmp_path, boxes, lambda index, ended, device: ended)
    assert "finished before its network was" in found.reason


def test_times_that_do_not_say_when_the_network_began(
    tmp_path: Path, boxes: datasets.Dataset
) -> None:
    result = finished.finish(tmp_path, boxes, settings={"runner": {**RUNNER, "streams": 2}})
    assert "does not say when the network began" in result.reason


def test_a_usual_pass_whose_times_overlap(tmp_path: Path, boxes: datasets.Dataset) -> None:
    assert "says when the network began" in row(tmp_path, boxes, honest, 1).reason


def test_a_number_that_its_measurements_do_not_choose(
    tmp_path: Path, boxes: datasets.Dataset
) -> None:
    found = [{"streams": 1, "ips": 30.0}, {"streams": 2, "ips": 20.0}]
    text = row(tmp_path, boxes, honest, "auto", streams=2, streams_found=found).reason
    assert text == "infer/run.json: the number of streams is 2, its measurements say 1"
    text = row(tmp_path / "none", boxes, honest, "auto", streams=2).reason
    assert "no measurement of it is there" in text
    found[1]["ips"] = 60.0
    right = row(tmp_path / "right", boxes, honest, "auto", streams=2, streams_found=found)
    assert right.reason == ""
    assert "2 pictures at once are the fastest here by measuring" in right.remarks[0]


@pytest.mark.parametrize("value", [0, -1, "two", 1 << 20, None])
def test_a_number_that_cannot_be(tmp_path: Path, boxes: datasets.Dataset, value: Any) -> None:
    assert "streams cannot be" in row(tmp_path, boxes, honest, value).reason


def test_several_pictures_at_once_without_proof(tmp_path: Path, boxes: datasets.Dataset) -> None:
    """Whoever loses companions.jsonl, or never had one, has proved nothing."""
    several = {
        "input": {
            "name": "input",
            "dtype": "float32",
            "shapes": [[1216, 1216]],
            "resize": [1216, 1216],
            "pictures": 2,
        }
    }
    result = finished.finish(tmp_path, boxes, settings=several)
    assert result.status == "invalid"
    assert "nothing proves that detections do not depend on companions" in result.reason


def test_figures_that_companions_do_not_give(tmp_path: Path, boxes: datasets.Dataset) -> None:
    text = row(tmp_path, boxes, honest).reason
    assert text == ""
    finished.rewrite(
        tmp_path / "cpu" / "infer" / "run.json",
        lambda record: record.update(companions={"shuffled": {"box_px": 0.0}}),
    )
    finished.seal(tmp_path / "cpu")
    text = collate.compute(tmp_path / "cpu", finished.known(tmp_path, boxes)).reason
    assert "infer/run.json: companions.shuffled" in text
