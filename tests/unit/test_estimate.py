"""Estimates: what is computed from figures, which figures those are, and a real run beside one."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.progress import Reporter
from cascadeport.cli.main import main
from cascadeport.commands.run import run as run_all
from cascadeport.config.options import Options
from cascadeport.estimate import devices, model, schedule, text
from cascadeport.estimate.figures import Figure, Host, Known, Rate, Sizes
from cascadeport.estimate.model import Question

from bundle.job import Job
from bundle.run import run
from bundle.runners import Outputs, Runner, open_runner
from bundle.shards import Shard
from tests.helpers import bundle_jobs as jobs
from tests.helpers import small_world

NPU = Figure("N", "an NPU", "measured", "5000 pictures", Rate(4.0, 3.0, 5.0), startup_s=10.0)
GPU = Figure("G", "a GPU", "published", "a paper", Rate(2.0))
CPU = Figure("C", "a CPU", "measured", "200 pictures", Rate(1.0, 1.0, 1.0), processors=2)
HOST = Host(50.0, "row N, a processor")
SIZES = Sizes(200_000.0, 1000.0, "some pictures")


def known(*figures: Figure, host: Host | None = HOST, sizes: Sizes = SIZES) -> Known:
    return Known({one.name: one for one in figures}, host, sizes, ())


def asked(question: Question, *figures: Figure, **more: Any) -> model.Estimate:
    return model.estimate(question, known(*figures, **more))


# --- the arithmetic, by hand


def test_shards_on_devices_that_are_alike() -> None:
    # 10 pictures in 3 shards of 4, 3 and 3 on two devices of 1/s that start in 2 s: the second and
    # the third begin at 0, the last when the shorter one ends, at 5.
    ended = schedule.ending(10, 3, [1.0, 1.0], [2.0, 2.0])
    assert ended.seconds == 10.0
    assert ended.busy == pytest.approx((6 + 5 + 5) / 20)


def test_a_slow_device_takes_fewer_shards() -> None:
    ended = schedule.ending(100, 10, [9.0, 1.0], [0.0, 0.0])
    # The slow one has one shard of 10 s, the fast one nine of 1.11 s.
    assert ended.seconds == pytest.approx(10.0)
    assert schedule.ending(100, 2, [9.0, 1.0], [0.0, 0.0]).seconds == 50.0


def test_devices_are_the_bound_unless_something_is_said_to_be_scarce() -> None:
    found = asked(Question(8000, {"N": 8}), NPU)
    assert found.bound == "devices"
    assert (found.rate, found.wanted, found.shards) == (32.0, 32.0, 8)
    assert found.duration.value == pytest.approx(10 + 1000 / 4)
    assert found.duration.low == pytest.approx(10 + 1000 / 5)
    assert found.duration.high == pytest.approx(10 + 1000 / 3)
    assert found.cores_needed == pytest.approx(32 * 0.05)
    assert found.storage_needed == pytest.approx(32 * 200_000)
    assert (found.pictures_bytes, found.found_bytes) == (1.6e9, 8e6)


def test_processors_and_storage_hold_devices_up() -> None:
    host = asked(Question(8000, {"N": 8}, cores=1), NPU)
    assert host.bound == "processors"
    assert host.rate == pytest.approx(1 / 0.05)
    assert host.duration.value == pytest.approx(10 + 8000 / 20)
    # With the fastest passes the processor is as much in the way.
    assert host.duration.low == pytest.approx(host.duration.value)
    storage = asked(Question(8000, {"N": 8}, cores=1, storage=2e6), NPU)
    assert storage.bound == "storage"
    assert storage.rate == pytest.approx(10.0)
    assert asked(Question(8000, {"N": 8}, cores=2, storage=1e9), NPU).bound == "devices"


def test_a_processor_prepares_its_own_pictures() -> None:
    found = asked(Question(100, {"C": 4}), CPU)
    assert found.cores_needed == 8
    assert asked(Question(100, {"C": 4}, cores=4), CPU).rate == pytest.approx(2.0)


def test_different_devices_get_more_shards_than_there_are_devices() -> None:
    found = asked(Question(10_000, {"N": 1, "G": 1}), NPU, GPU)
    assert found.shards == 16
    assert found.wanted == 6.0
    assert found.busy < 1
    assert found.duration.value > 10_000 / 6
    assert asked(Question(3, {"N": 8}), NPU).shards == 3


def test_what_is_not_known_is_left_out_and_said() -> None:
    found = asked(Question(1000, {"G": 2}, cores=1, storage=1.0), GPU, host=None, sizes=Sizes())
    assert found.bound == "devices"
    assert (found.cores_needed, found.storage_needed, found.pictures_bytes) == (None, None, None)
    assert (found.duration.low, found.duration.high) == (None, None)
    said = " ".join(found.unknown)
    for part in ("as fast as published", "takes to start", "host's processor", "a picture is"):
        assert part in said
    shown = "\n".join(text.lines(found))
    assert "PUBLISHED, not measured: a paper" in shown
    assert model.as_json(found)["devices"][0]["status"] == "published"
    assert model.as_json(found)["duration_s"] == {"value": 250.0, "low": None, "high": None}


def test_the_report_says_which_figures_were_measured() -> None:
    shown = "\n".join(text.lines(asked(Question(1_000_000, {"N": 8}, cores=1), NPU)))
    assert "N: 4.00 (3.00 to 5.00) pictures/s each, start 10.0 s; measured: 5000 pictures" in shown
    assert "bound     the hosts' processors" in shown
    assert "1.60 cores keep the devices busy, 1 are there" in shown
    assert "pictures 200 GB, results 1 GB, image not known" in shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(2.04, "2.0 s"), (357, "5 min 57 s"), (33749, "9 h 22 min"), (200_000, "2 d 8 h")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


# --- what is asked


def test_devices_as_users_write_them() -> None:
    assert devices.parse("310P3=8, T4=2") == {"310P3": 8, "T4": 2}
    assert devices.pictures("1_000_000") == 1_000_000
    for wrong in ("310P3", "310P3=0", "=3", "T4=1,T4=2", ""):
        with pytest.raises(CascadeportError):
            devices.parse(wrong)
    for missing in (None, "val2017", "0", "-3"):
        with pytest.raises(CascadeportError):
            devices.pictures(missing)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--devices", "T4=1"], "needs the number of pictures"),
        (["--devices", "T5=1", "--pictures", "9"], "There is no target named 'T5'"),
        (["--devices", "T4", "--pictures", "9"], "no number of devices"),
        (["--devices", "openvino=1", "--pictures", "9"], "There is no figure of 'openvino'"),
        (["--devices", "T4=1", "--pictures", "9", "--shards", "10"], "more shards than pictures"),
        (["--devices", "T4=1", "--pictures", "9999999", "--shards", "100001"], "at most 100000"),
        (["--devices", "T4=1", "--pictures", "9", "--storage", "fast"], "'fast' is no size"),
    ],
)
def test_errors_are_sentences(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", *words, "--results", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_published_figures_without_any_hardware_or_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--results", str(tmp_path), "--dist", str(tmp_path), "--build", str(tmp_path)]
    ask = ["plan", "--pictures", "1000000", "--devices", "310P3=8", "--json", *words]
    assert main([*ask, "--picture-size", "160k"]) == 0
    found = json.loads(capsys.readouterr().out)
    (device,) = found["devices"]
    assert device["status"] == "published"
    assert device["ips"] == {"value": 3.703812, "low": None, "high": None}
    assert found["duration_s"]["value"] == pytest.approx(1e6 / 8 / 3.703812)
    assert found["storage"]["needed_bytes_per_s"] == pytest.approx(8 * 3.703812 * 160_000)
    assert found["disk"]["pictures_bytes"] == 1.6e11


def test_a_measured_row_of_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = Options(
        model=str(small_world.card(tmp_path)),
        data=str(small_world.dataset(tmp_path / "data")),
        build=tmp_path / "build",
        results=tmp_path / "results",
        repeats=3,
    )
    assert run_all(options, Reporter()) == 0
    record = json.loads(next(tmp_path.glob("results/*/cpu/infer/run.json")).read_text())
    words = [f"--{name}={getattr(options, name)}" for name in ("model", "data", "build", "results")]
    capsys.readouterr()
    ask = ["plan", "--pictures", "5000", "--devices", "cpu=3", "--json", *words]
    assert main([*ask, f"--dist={tmp_path}"]) == 0
    found = json.loads(capsys.readouterr().out)
    (device,) = found["devices"]
    assert device["status"] == "measured"
    passes = [one["end_to_end_ips"] for one in record["summary"]["repeats"]]
    assert device["ips"] == {"value": passes[0], "low": min(passes), "high": max(passes)}
    assert device["startup_s"] == record["startup_s"] > 0
    pictures = [path.stat().st_size for path in (tmp_path / "data").rglob("*.jpg")]
    assert found["disk"]["pictures_bytes"] == pytest.approx(5000 * np.mean(pictures))
    steps = record["summary"]["steps_ms"]
    wanted = sum(steps[name]["mean"] for name in ("decode", "preprocess", "postprocess"))
    assert found["processors"]["ms_per_picture"] == pytest.approx(wanted)


# --- a real run beside an estimate


class Slow(Runner):
    """A device that takes 30 ms for a picture and 200 ms to start."""

    def __init__(self, job: Job) -> None:
        time.sleep(0.2)
        self._inner = open_runner(job)

    def run(self, batch: np.ndarray) -> Outputs:
        began = time.perf_counter()
        found = self._inner.run(batch)
        time.sleep(max(0.0, 0.03 - (time.perf_counter() - began)))
        return found._replace(device_ms=(time.perf_counter() - began) * 1000)

    def describe(self) -> dict[str, Any]:
        return self._inner.describe()

    def close(self) -> None:
        self._inner.close()


def test_shards_on_three_devices_take_as_long_as_estimated(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    items = content["pictures"]["items"]
    content["pictures"]["items"] = [{**items[n % 5], "id": n} for n in range(60)]
    job = jobs.checked(content)
    alone = replace(job, pictures=job.pictures[:20], repeats=1)
    record = run(alone, str(tmp_path / "alone"), Slow)
    rate = Rate(record["summary"]["device_ips"])
    figure = Figure("S", "slow", "measured", "", rate, startup_s=record["startup_s"])
    wanted = asked(Question(60, {"S": 3}, shards=7), figure)

    left = itertools.count(1)

    def work() -> None:
        while (index := next(left)) <= 7:
            share = Shard(index, 7).take(job.pictures)
            run(replace(job, pictures=tuple(share), repeats=1), str(tmp_path / str(index)), Slow)

    threads = [threading.Thread(target=work) for _ in range(3)]
    began = time.perf_counter()
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    took = time.perf_counter() - began
    assert 0.7 < took / wanted.duration.value < 1.6
    # It would not say so of half as many devices.
    assert took / asked(Question(60, {"S": 1}, shards=7), figure).duration.value < 0.7
