"""Several pictures at once on a processor: the same detections, honest times, one network."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle import streams
from bundle.errors import BundleError
from bundle.job import Job
from bundle.measure import HEADER, OVERLAPPING
from bundle.run import run
from bundle.runners import Outputs, Runner, open_runner
from bundle.stream import Stream
from tests.helpers import bundle_jobs as jobs


def several(tmp_path: Path, number: Any, **changes: Any) -> Job:
    return jobs.checked(jobs.small(tmp_path, runner={"threads": 4, "streams": number}, **changes))


@pytest.mark.parametrize("make", [jobs.small, jobs.oriented])
def test_the_same_detections_whatever_runs_beside(tmp_path: Path, make: Any) -> None:
    found = {}
    for number in (1, 2, 4):
        job = jobs.checked(make(tmp_path, runner={"threads": 4, "streams": number}))
        record = run(job, str(tmp_path / str(number)))
        found[number] = [
            (tmp_path / str(number) / name).read_bytes()
            for name in ("detections.json", "geometry.jsonl", "pictures.jsonl")
        ]
        times = (tmp_path / str(number) / "times.csv").read_text()
        assert times.startswith(HEADER if number == 1 else OVERLAPPING)
        assert record["environment"].get("streams", 1) == number
    assert found[1] == found[2] == found[4]


def test_streams_share_one_session(tmp_path: Path) -> None:
    """Weights are in memory once, and the threads together are those of the job."""
    first = open_runner(several(tmp_path, 2))
    other = first.twin()
    assert other._session is first._session  # type: ignore[attr-defined]
    options = first._session.get_session_options()  # type: ignore[attr-defined]
    assert options.intra_op_num_threads == 3
    first.close()


class Meeting(Runner):
    """Answers only when as many threads are in it as there are streams."""

    def __init__(self, barrier: threading.Barrier) -> None:
        self._barrier = barrier

    def describe(self) -> dict[str, Any]:
        return {"runtime": "meeting"}

    def twin(self) -> Runner:
        return Meeting(self._barrier)

    def run(self, batch: np.ndarray) -> Outputs:
        self._barrier.wait(30)
        time.sleep(0.05)
        return jobs.nothing(batch)._replace(device_ms=50.0)


def test_pictures_really_overlap_and_are_not_counted_twice(tmp_path: Path) -> None:
    """Three streams of at least 50 ms a picture: no more than 60 a second, whatever is added up."""
    job = several(tmp_path, 3, measure={"warmup": 3, "repeats": 1})
    pictures = job.pictures[:3] * 4
    with Stream(job, lambda one: Meeting(threading.Barrier(3))) as stream:
        began: list[float] = []
        stream.run(pictures, lambda result: began.append(result.times.began))  # type: ignore[union-attr,arg-type]
    assert [round(max(began[n : n + 3]) - min(began[n : n + 3])) < 50 for n in (0, 3, 6, 9)]
    assert began[3] >= 50


def test_a_runtime_without_twins_is_refused(tmp_path: Path) -> None:
    load = lambda one: jobs.Scripted(jobs.nothing)  # noqa: E731
    with pytest.raises(BundleError, match="several pictures at once"):
        run(several(tmp_path, 2), str(tmp_path / "out"), load)


@pytest.mark.parametrize(
    ("rates", "taken"),
    [
        ({1: 10.0, 2: 15.0, 4: 30.0}, 4),
        ({1: 10.0, 2: 10.2, 4: 10.1}, 1),
        ({1: 10.0, 2: 19.9, 4: 20.0}, 2),
        ({1: 10.0, 2: 5.0, 4: 3.0}, 1),
    ],
)
def test_the_fastest_and_of_equals_the_one_with_the_shortest_latency(
    rates: dict[int, float], taken: int
) -> None:
    assert streams.best([{"streams": n, "ips": ips} for n, ips in rates.items()]) == taken


def test_candidates() -> None:
    assert streams.candidates(1) == [1]
    assert streams.candidates(2) == [1, 2]
    assert streams.candidates(16) == [1, 2, 4, 8, 16]
    assert streams.candidates(6) == [1, 2, 4, 6]


def test_the_machine_decides_by_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that does not mind how many: four at once are four times as fast."""
    monkeypatch.setattr(streams, "SECONDS", 0.1)

    class Wide(jobs.Scripted):
        def twin(self) -> Runner:
            return Wide(self.answer)

    def answer(batch: np.ndarray) -> Outputs:
        time.sleep(0.02)
        return jobs.nothing(batch)._replace(device_ms=20.0)

    record = run(several(tmp_path, "auto"), str(tmp_path / "out"), lambda one: Wide(answer))
    environment = record["environment"]
    assert environment["streams"] == 4
    assert [one["streams"] for one in environment["streams_found"]] == [1, 2, 4]
    assert json.loads((tmp_path / "out" / "run.json").read_text())["environment"] == environment


def test_what_a_job_cannot_say(tmp_path: Path) -> None:
    for value in (0, -1, "many", None, 1.5):
        with pytest.raises(BundleError, match=r"runner\.streams"):
            several(tmp_path, value)
