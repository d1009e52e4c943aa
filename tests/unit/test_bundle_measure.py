"""Statistics are derived from raw times; what was not measured stays null."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from bundle.errors import BundleError
from bundle.measure import HEADER, OVERLAPPING, Pass, Times, read_times, statistics, summarise


def passed(count: int, device: float | None = 10.0, finished: float = 0.02) -> Pass:
    one = Pass()
    for index in range(count):
        one.add(
            Times(decode=2.0, preprocess=1.0, device=device, postprocess=0.5),
            finished * (index + 1),
        )
    return one


@pytest.mark.parametrize(
    ("count", "known"),
    [
        (1, {"p50"}),
        (63, {"p50"}),
        (64, {"p50", "p90"}),
        (661, {"p50", "p90"}),
        (662, {"p50", "p90", "p99"}),
    ],
)
def test_a_percentile_without_enough_samples_is_null(count: int, known: set[str]) -> None:
    result = statistics([float(n) for n in range(count, 0, -1)])
    assert {name for name in ("p50", "p90", "p99") if result[name] is not None} == known
    assert result["n"] == count


@pytest.mark.parametrize(("p", "needed"), [(0.9, 64), (0.99, 662)])
def test_enough_samples_are_those_of_the_binomial_bound(p: float, needed: int) -> None:
    """At most one sample beyond the percentile has a chance of at most 1 %, and not before."""

    def chance(n: int) -> float:
        return p**n + n * (1 - p) * p ** (n - 1)

    assert chance(needed) <= 0.01 < chance(needed - 1)


def test_percentiles_are_nearest_ranks() -> None:
    result = statistics([float(n) for n in range(1, 1001)])
    assert (result["p50"], result["p90"], result["p99"]) == (500, 900, 990)
    assert result["mean"] == pytest.approx(500.5)


def test_throughputs_of_the_device_and_end_to_end() -> None:
    summary = summarise([passed(10), passed(4, device=20.0, finished=0.04)], workers=1)
    assert summary["device_ips"] == summary["chip_ips"] == pytest.approx(100)
    assert summary["end_to_end_ips"] == pytest.approx(50)
    first, second = summary["repeats"]
    assert first["pictures"] == second["pictures"] == 4
    assert first["end_to_end_ips"] == pytest.approx(50)
    assert second["device_ips"] == pytest.approx(50)
    assert summary["spread"]["device_ips"] == pytest.approx(50 / 75)


def test_the_first_repeat_is_the_scored_passs_share() -> None:
    scored = Pass()
    for index, device in enumerate([10.0, 10.0, 40.0, 40.0]):
        scored.add(Times(device=device), [0.1, 0.2, 1.0, 2.0][index])
    summary = summarise([scored, passed(2)], workers=1)
    assert summary["repeats"][0]["device_ips"] == pytest.approx(100)
    assert summary["repeats"][0]["end_to_end_ips"] == pytest.approx(10)


def test_chips_rates_are_added_and_never_multiplied() -> None:
    """One chip of four is slow: the device is slower than four times its fastest, or its mean."""
    one = Pass()
    for index in range(40):
        one.add(Times(device=20.0 if index % 4 == 3 else 10.0, chip=index % 4), 0.003 * (index + 1))
    summary = summarise([one], workers=1, lanes=4)
    assert summary["chip_ips"] == pytest.approx(1000 / 12.5)
    assert summary["device_ips"] == pytest.approx(3 * 100 + 50)
    assert summary["end_to_end_ips"] == pytest.approx(1000 / 3)


def test_steps_that_a_runtime_does_not_tell_are_null() -> None:
    summary = summarise([passed(3)], workers=1)
    assert summary["steps_ms"]["h2d"] is None
    assert summary["steps_ms"]["d2h"] is None
    assert summary["steps_ms"]["decode"]["mean"] == 2.0


def test_without_pictures_nothing_is_invented() -> None:
    summary = summarise([Pass()], workers=1)
    assert summary["device_ips"] is None
    assert summary["end_to_end_ips"] is None
    assert summary["bound_by"] is None
    assert set(summary["spread"].values()) == {None}
    assert summary["latency_ms"] == {"n": 0, "mean": None, "p50": None, "p90": None, "p99": None}


def test_a_device_that_does_not_tell_its_time_has_no_throughput() -> None:
    summary = summarise([passed(3, device=None)], workers=1)
    assert summary["device_ips"] is None
    assert summary["end_to_end_ips"] == pytest.approx(50)


@pytest.mark.parametrize(
    ("times", "workers", "bound"),
    [
        (Times(decode=8, preprocess=4, device=10, postprocess=1), 1, "decode+preprocess"),
        (Times(decode=8, preprocess=4, device=10, postprocess=1), 2, "device"),
        (Times(decode=8, preprocess=4, h2d=3, device=8, d2h=2, postprocess=1), 1, "device"),
        (Times(decode=1, preprocess=1, device=1, postprocess=9), 1, "postprocess"),
    ],
)
def test_what_bounds_the_pass(times: Times, workers: int, bound: str) -> None:
    one = Pass()
    one.add(times, 1.0)
    assert summarise([one], workers)["bound_by"] == bound


def test_a_row_has_a_cell_per_column_and_empty_ones() -> None:
    row = Times(decode=1.5, device=0.25).row(2, 139, 0.5)
    assert row == "2,139,0,1.5000,,,0.2500,,,500.0000\n"
    assert row.count(",") == HEADER.count(",")


def test_no_number_is_infinite_or_nan() -> None:
    summary = summarise([passed(700), passed(5)], workers=3)
    stack = [summary]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)
        elif isinstance(value, float):
            assert math.isfinite(value)


def written(path: Path, passes: list[list[tuple[Times, float]]]) -> list[Pass]:
    """Writes times.csv as a run does; returns what it derives its statistics from."""
    measured = []
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for number, pictures in enumerate(passes, 1):
            measured.append(Pass())
            for picture, (times, finished) in enumerate(pictures):
                measured[-1].add(times, finished)
                file.write(times.row(number, 10 + picture, finished))
    return measured


def test_statistics_are_derived_again_from_the_file_to_the_last_bit(tmp_path: Path) -> None:
    generator = random.Random(1)
    passes = []
    for count in (700, 200, 200):
        finished, pictures = 0.0, []
        for _ in range(count):
            finished += generator.uniform(0.001, 3)
            steps = [generator.uniform(0, 2000) for _ in range(5)]
            times = Times(steps[0], steps[1], None, *steps[2:], chip=generator.randrange(4))
            pictures.append((times, finished))
        passes.append(pictures)
    measured = written(tmp_path / "times.csv", passes)
    read = read_times(str(tmp_path / "times.csv"))
    assert summarise([one.times for one in read], 2, 4) == summarise(measured, 2, 4)
    assert [len(one.ids) for one in read] == [700, 200, 200]
    assert read[0].ids[:2] == [10, 11]
    assert all(one.times.is_ordered for one in read)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("1,1,0,1,1,,nan,,1,1", "not a number of milliseconds"),
        ("1,1,0,1,1,,-5,,1,1", "not a number of milliseconds"),
        ("1,1,0,1,1,,5,,1,", "no time at which"),
        ("1,1,0,1,1", "another number of cells"),
        ("3,1,0,1,1,,5,,1,1", "passes are not in order"),
        ("", "not enough values"),
        ("1,1,99999999,1,1,,5,,1,1", "maximum"),
    ],
)
def test_times_that_no_pass_wrote(tmp_path: Path, line: str, error: str) -> None:
    (tmp_path / "times.csv").write_text(HEADER + line + "\n")
    with pytest.raises(BundleError, match=error) as raised:
        read_times(str(tmp_path / "times.csv"))
    assert raised.value.where.endswith("times.csv, line 2")


def overlapping(*intervals: tuple[float, float], chip: int = 0) -> Pass:
    """A pass whose pictures were in the network from and to these milliseconds."""
    one = Pass()
    for begin, end in intervals:
        one.add(Times(device=end - begin, chip=chip, began=begin), end / 1000)
    return one


def test_several_pictures_at_once_are_as_fast_as_the_clock_on_the_wall_says() -> None:
    """Two streams of 100 ms a picture make 20 a second while both work, and 10 while one does."""
    both = summarise([overlapping((0, 100), (0, 100), (100, 200), (100, 200))], workers=1)
    assert both["chip_ips"] == both["device_ips"] == pytest.approx(20)
    assert both["latency_ms"]["mean"] == pytest.approx(100)
    one = summarise([overlapping((0, 100), (100, 200), (150, 250), (300, 400))], workers=1)
    # The 50 ms in which nothing ran are not the device's.
    assert one["device_ips"] == pytest.approx(1000 * 4 / 350)


def test_chips_with_several_pictures_at_once_are_added() -> None:
    one = Pass()
    for index in range(4):
        one.add(Times(device=10, chip=index % 2, began=0.0), 0.01)
    assert one.throughput()["device_ips"] == pytest.approx(400)


def test_times_of_overlapping_pictures_come_back_to_the_last_bit(tmp_path: Path) -> None:
    times = [Times(device=10.12345 + n, began=3.98765 * n, decode=1.0) for n in range(20)]
    made = Pass()
    path = tmp_path / "times.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write(OVERLAPPING)
        for index, one in enumerate(times):
            made.add(one, index + 1.0)
            file.write(one.row(1, index, index + 1.0))
    (found,) = read_times(str(path))
    assert summarise([found.times], 1) == summarise([made], 1)
    path.write_text(path.read_text().replace(OVERLAPPING, HEADER))
    with pytest.raises(BundleError, match="another number of cells"):
        read_times(str(path))
