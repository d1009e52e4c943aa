"""As many workers as keep the device busy, and no more."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle import run as bundle_run
from bundle import workers
from bundle.errors import BundleError
from bundle.job import Job
from bundle.runners import Outputs
from bundle.stream import Stream
from bundle.workers import Pace, Workers
from tests.helpers import bundle_jobs as jobs


class Clock:
    """A device and workers by arithmetic: how long a lane waits with so many workers."""

    def __init__(self, pace: Pace, prepare: float, device: float, cores: int = 64) -> None:
        self.pace, self.now = pace, 0.0
        self.prepare, self.device, self.cores = prepare, device, cores

    def run(self, pictures: int) -> int:
        """Makes a pass; returns the number of workers at its end."""
        self.pace.restart(True)
        for _ in range(pictures):
            supply = self.prepare / min(self.pace.workers, self.cores)
            waited = max(0.0, supply - self.device)
            self.now += max(supply, self.device)
            self.pace.add(waited, now=self.now)
        return self.pace.workers


@pytest.mark.parametrize(
    ("prepare", "device", "needed"),
    [(5.0, 100.0, 1), (5.0, 5.0, 1), (9.0, 5.0, 2), (40.0, 10.0, 4), (45.0, 10.0, 5)],
)
def test_as_many_as_the_device_needs(prepare: float, device: float, needed: int) -> None:
    assert Clock(Pace(16, 1), prepare, device).run(400) == needed


def test_never_more_than_there_are_cores() -> None:
    pace = Pace(3, 1)
    assert Clock(pace, 100.0, 1.0).run(400) == 3
    assert pace.settled


def test_a_worker_that_gains_nothing_goes_again() -> None:
    """As where the network itself needs the core that the worker took."""
    pace = Pace(16, 1)
    assert Clock(pace, 100.0, 1.0, cores=2).run(400) == 2
    assert pace.settled
    assert [one["workers"] for one in pace.rounds[:3]] == [1, 2, 3]


def test_a_pass_that_is_only_watched_changes_nothing() -> None:
    pace = Pace(16, 1)
    pace.restart(False)
    for number in range(100):
        pace.add(0.5, now=float(number))
    assert pace.workers == 1
    assert pace.starved == pytest.approx(0.5)
    assert pace.rounds == []


def test_the_first_pictures_wait_says_nothing() -> None:
    """Whatever the device, its first picture has to be decoded first."""
    pace = Pace(16, 2)
    pace.restart(True)
    pace.add(50.0, now=50.0)
    pace.add(50.0, now=50.0)
    for number in range(1, 9):
        pace.add(0.0, now=50.0 + number)
    assert pace.decide() is False
    assert pace.workers == 1
    assert pace.rounds[0]["starved"] == 0


def test_workers_come_and_go_and_fail_alone() -> None:
    pool = Workers(1, "test")
    pool.add()
    both = threading.Barrier(2, timeout=30)
    assert sorted(one.result() for one in [pool.submit(both.wait) for _ in "ab"]) == [0, 1]
    pool.remove()
    assert pool.submit(len, "abc").result() == 3
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result()
    pool.shutdown(True)
    assert pool.count == 0


def slow_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Job:
    """A job whose pictures take ten times as long to prepare as the device needs."""
    stream = {"workers": "auto", "queue": 2}
    job = jobs.checked({**jobs.small(tmp_path, **changes), "stream": stream})
    monkeypatch.setattr("bundle.stream.cores", lambda: 4)
    decode = bundle_run.fit

    def slow(*arguments: Any) -> Any:
        if threading.current_thread().name.startswith("prepare"):
            time.sleep(0.02)
        return decode(*arguments)

    monkeypatch.setattr("bundle.stream.fit", slow)
    return job


def nearly_nothing(batch: np.ndarray) -> Outputs:
    time.sleep(0.002)
    return jobs.nothing(batch)


def test_a_starved_device_gets_workers_before_the_timed_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = slow_pictures(tmp_path, monkeypatch, measure={"warmup": 5})
    record = bundle_run.run(job, str(tmp_path / "out"), lambda one: jobs.Scripted(nearly_nothing))
    environment = record["environment"]
    # A device that could use ten, and four cores; how many show a gain depends on the machine.
    assert 2 <= environment["workers"] <= 4
    assert [one["workers"] for one in environment["workers_found"]][:2] == [1, 2]
    assert record["summary"]["bound_by"] == "decode+preprocess"
    phases = {one.get("phase") for one in jobs.events(capsys.readouterr().out)}
    assert "workers" in phases


def test_a_slow_device_keeps_one(tmp_path: Path) -> None:
    job = jobs.checked({**jobs.small(tmp_path), "stream": {"workers": "auto", "queue": 2}})

    def answer(batch: np.ndarray) -> Outputs:
        time.sleep(0.02)
        return jobs.nothing(batch)

    record = bundle_run.run(job, str(tmp_path / "out"), lambda one: jobs.Scripted(answer))
    assert record["environment"]["workers"] == 1


def test_results_are_the_same_while_workers_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a frozen image, which has no warm-up: each picture meets its own pixels, in order."""
    job = slow_pictures(tmp_path, monkeypatch)
    pictures = [job.pictures[number % 5] for number in range(80)]

    def once() -> tuple[list[tuple[int, float]], int]:
        sums: list[float] = []
        order: list[int] = []

        def answer(batch: np.ndarray) -> Outputs:
            sums.append(float(batch.sum()))
            return nearly_nothing(batch)

        with Stream(job, lambda one: jobs.Scripted(answer)) as stream:
            stream.run(pictures, lambda result: order.append(result.picture.id))
            return list(zip(order, sums, strict=True)), stream.workers

    found, count = once()
    monkeypatch.setattr(workers, "STARVED", 2.0)
    alone, one = once()
    assert (found, one) == (alone, 1)
    assert count > 1


def test_what_a_job_cannot_say(tmp_path: Path) -> None:
    for value in ("many", 0, None, 1.5, True):
        content = jobs.small(tmp_path)
        content["stream"]["workers"] = value
        with pytest.raises(BundleError, match=r"stream\.workers"):
            jobs.checked(content)
    assert jobs.checked(jobs.small(tmp_path)).workers_grow is False
    assert json.dumps(jobs.small(tmp_path)["stream"]) == '{"workers": 2, "queue": 2}'
