"""Energy: counters of the processors, and pictures per second per watt."""

from __future__ import annotations

from pathlib import Path

import pytest
from cascadeport.results.conditions import Conditions, Device
from cascadeport.results.energy import energy

from bundle import power
from bundle.power import Energy, idle_watts


def package(root: Path, name: str, microjoules: int, most: int = 262_143_328_850) -> Path:
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text(f"{most}\n")
    return folder


def test_packages_are_added_and_their_parts_are_not(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 5_000_000)
    package(tmp_path, "intel-rapl:1", 7_000_000)
    package(tmp_path, "intel-rapl:0:0", 1_000_000)
    counted = Energy(str(tmp_path))
    assert counted.read() == 0
    package(tmp_path, "intel-rapl:0", 6_500_000)
    package(tmp_path, "intel-rapl:1", 7_250_000)
    package(tmp_path, "intel-rapl:0:0", 9_000_000)
    assert counted.read() == pytest.approx(1.75)


def test_a_counter_that_starts_again_goes_on(tmp_path: Path) -> None:
    package(tmp_path, "intel-rapl:0", 9_000_000, most=10_000_000)
    counted = Energy(str(tmp_path))
    package(tmp_path, "intel-rapl:0", 500_000, most=10_000_000)
    assert counted.read() == pytest.approx(1.5)
    package(tmp_path, "intel-rapl:0", 700_000, most=10_000_000)
    assert counted.read() == pytest.approx(1.7)


def test_what_cannot_be_read_is_not_guessed(tmp_path: Path) -> None:
    assert Energy(str(tmp_path)).read() is None
    assert idle_watts(60, str(tmp_path)) is None
    package(tmp_path, "intel-rapl:0", 5_000_000)
    other = package(tmp_path, "intel-rapl:1", 5_000_000)
    (other / "energy_uj").unlink()
    assert Energy(str(tmp_path)).read() is None


def test_idle_power_is_what_the_counter_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "intel-rapl:0", 0)
    clock = [100.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        package(tmp_path, "intel-rapl:0", 24_000_000)

    monkeypatch.setattr(power.time, "sleep", sleep)
    monkeypatch.setattr(power.time, "perf_counter", lambda: clock[0])
    assert idle_watts(2.0, str(tmp_path)) == pytest.approx(12.0)


def conditions(**given: object) -> Conditions:
    return Conditions.model_validate({"cores": 2, "seconds": 10.0, "samples": 11, **given})


def test_per_watt_is_above_idle() -> None:
    found = energy(conditions(power_w=52.0, idle_power_w=12.0), 30.0)
    assert found is not None
    assert (found.source, found.watts, found.idle) == ("processor packages", 52.0, 12.0)
    assert found.ips_per_watt == pytest.approx(0.75)


def test_a_devices_own_power_comes_first() -> None:
    chips = [
        Device(device=f"chip {number}", power_w_mean=20.0, power_w_idle=12.5) for number in (0, 1)
    ]
    found = energy(conditions(power_w=52.0, idle_power_w=12.0, devices=chips), 6.0)
    assert found is not None
    assert (found.source, found.watts, found.idle) == ("chip 0, chip 1", 40.0, 25.0)
    assert found.ips_per_watt == pytest.approx(0.4)


def test_without_idle_or_speed_there_is_no_ratio() -> None:
    without = energy(conditions(power_w=52.0), 30.0)
    assert without is not None
    assert without.ips_per_watt is None
    # A simulated row has no speed.
    simulated = energy(conditions(power_w=52.0, idle_power_w=12.0), None)
    assert simulated is not None
    assert simulated.ips_per_watt is None
    # Other work made the machine draw more before the pass than in it.
    busy = energy(conditions(power_w=52.0, idle_power_w=60.0), 30.0)
    assert busy is not None
    assert busy.ips_per_watt is None
    assert energy(conditions(), 30.0) is None
    assert energy(None, 30.0) is None
