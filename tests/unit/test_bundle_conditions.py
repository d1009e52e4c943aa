"""The conditions of a pass, sampled: what others used, whatever the pass itself does."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bundle import conditions
from bundle.conditions import Sample, Sampler, sample
from bundle.errors import BundleError

linux = pytest.mark.skipif(not Path("/proc/stat").exists(), reason="there is no /proc/stat here")
_BURN = "import time\nend = time.monotonic() + {}\nwhile time.monotonic() < end: pass"


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_a_line_has_a_cell_for_every_column() -> None:
    line = Sample(1.5, 2, None, 0.25, None, 0.5, None, None).line()
    assert line == "1.5,2,,0.25,,0.5,,,\n"
    assert ",".join(Sample._fields) + "\n" == conditions.HEADER


def test_samples_from_the_beginning_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conditions, "PERIOD_S", 0.05)
    path = tmp_path / conditions.NAME
    with Sampler(str(path)):
        time.sleep(0.3)
    header, *lines = path.read_text().splitlines(keepends=True)
    assert header == conditions.HEADER
    seconds = [float(line.split(",")[0]) for line in lines]
    assert seconds == sorted(seconds)
    assert seconds[0] < 0.2
    assert seconds[-1] >= 0.3
    assert len(seconds) >= 3


def test_a_pass_that_fails_keeps_its_own_error(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mine"), Sampler(str(tmp_path / conditions.NAME)):
        raise KeyError("mine")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_an_error_with_the_files_name() -> None:
    with pytest.raises(BundleError, match="cannot be written") as raised:
        with Sampler("/dev/full"):
            pass
    assert raised.value.where == "/dev/full"


@linux
def test_work_of_its_own_and_of_its_children_is_its_own() -> None:
    cores = sorted(os.sched_getaffinity(0))
    start = time.perf_counter()
    before = sample(start, cores)
    burn(0.3)
    alone = sample(start, cores)
    assert alone.own_s - before.own_s >= 0.25
    # A child that runs networks, while it lives; and one that has ended.
    child = multiprocessing.get_context("fork").Process(target=burn, args=(0.3,))
    child.start()
    deadline = time.monotonic() + 30
    while sample(start, cores).own_s - alone.own_s < 0.25:
        assert child.is_alive() or child.exitcode == 0
        assert time.monotonic() < deadline
        time.sleep(0.05)
    child.join()
    after = sample(start, cores)
    assert after.own_s - alone.own_s >= 0.25
    assert before.busy_s is not None
    assert after.busy_s is not None
    # The machine was busy for at least as long, within what it counts in.
    assert after.busy_s - before.busy_s >= after.own_s - before.own_s - 0.1


@linux
def test_work_of_others_is_not_its_own() -> None:
    cores = sorted(os.sched_getaffinity(0))
    start = time.perf_counter()
    other = subprocess.Popen([sys.executable, "-c", _BURN.format(60)])
    try:
        before = sample(start, cores)
        time.sleep(1)
        after = sample(start, cores)
    finally:
        other.kill()
        other.wait()
    assert after.own_s - before.own_s < 0.3
    assert before.busy_s is not None
    assert after.busy_s is not None
    assert after.busy_s - before.busy_s > 0.2


def test_a_system_that_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_read", lambda path: "")
    found = sample(time.perf_counter(), [0, 1])
    assert (found.busy_s, found.stolen_s, found.mhz, found.throttled) == (None,) * 4
    assert found.own_s > 0


def test_clocks_and_throttling_are_read_where_the_system_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The kernel's files of a machine with two cores of one package."""
    for core, (clock, own, package) in enumerate(((2_400_000, 3, 7), (2_000_000, 1, 7))):
        folder = tmp_path / f"cpu{core}"
        (folder / "cpufreq").mkdir(parents=True)
        (folder / "cpufreq" / "scaling_cur_freq").write_text(f"{clock}\n")
        (folder / "thermal_throttle").mkdir()
        (folder / "thermal_throttle" / "core_throttle_count").write_text(f"{own}\n")
        (folder / "thermal_throttle" / "package_throttle_count").write_text(f"{package}\n")
    monkeypatch.setattr(conditions, "_SYSTEM", str(tmp_path))
    found = sample(time.perf_counter(), [0, 1])
    assert found.mhz == 2200
    assert found.throttled == 3 + 1 + 7
    assert sample(time.perf_counter(), [0, 1], throttling=False).throttled is None
