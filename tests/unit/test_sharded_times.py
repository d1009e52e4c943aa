"""The times of a fleet: what was done, by the time that it took. Nothing is multiplied."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.measure import Pass, Times
from bundle.sharded.times import Part, summarise_fleet

QUARTER = 250.0


def part(device: str, began: float, pictures: int, milliseconds: float = QUARTER) -> Part:
    """A pass whose device is all that takes time."""
    times = Pass()
    for number in range(1, pictures + 1):
        times.add(Times(device=milliseconds), number * milliseconds / 1000.0)
    return Part(device, began, times, "device")


def test_two_devices_side_by_side_are_twice_as_fast() -> None:
    summary = summarise_fleet([part("a", 100.0, 40), part("b", 100.0, 40)])
    assert summary["chip_ips"] == pytest.approx(4.0)
    assert summary["device_ips"] == pytest.approx(8.0)
    assert summary["end_to_end_ips"] == pytest.approx(8.0)
    assert summary["latency_ms"]["n"] == 80
    assert [one["device"] for one in summary["devices"]] == ["a", "b"]
    for one in summary["devices"]:
        assert (one["pictures"], one["seconds"]) == (40, 10.0)
        assert one["device_ips"] == one["end_to_end_ips"] == pytest.approx(4.0)


def test_two_devices_one_after_the_other_are_not() -> None:
    summary = summarise_fleet([part("a", 100.0, 40), part("b", 110.0, 40)])
    assert summary["device_ips"] == summary["end_to_end_ips"] == pytest.approx(4.0)


def test_four_shards_on_two_devices() -> None:
    """What lies between two shards of a device is not the device's, but the fleet's."""
    parts = [part("a", 0.0, 40), part("b", 0.0, 40), part("a", 15.0, 40), part("b", 15.0, 40)]
    summary = summarise_fleet(parts)
    assert summary["seconds"] == 25.0
    assert summary["end_to_end_ips"] == pytest.approx(160 / 25)
    assert summary["device_ips"] == pytest.approx(160 / 25)
    assert [one["shards"] for one in summary["devices"]] == [2, 2]
    assert [one["seconds"] for one in summary["devices"]] == [20.0, 20.0]
    assert [one["end_to_end_ips"] for one in summary["devices"]] == pytest.approx([4.0, 4.0])


def test_a_slow_device_is_not_hidden_by_a_fast_one() -> None:
    summary = summarise_fleet([part("fast", 0.0, 100, 10.0), part("slow", 0.0, 100, 1000.0)])
    assert summary["end_to_end_ips"] == pytest.approx(2.0)
    # 100 pictures a second for a hundredth of the time, and 1 for all of it.
    assert summary["device_ips"] == pytest.approx(2.0)
    assert [one["device_ips"] for one in summary["devices"]] == pytest.approx([100.0, 1.0])


def test_nothing_is_said_where_nothing_was_measured() -> None:
    assert summarise_fleet([part("a", 5.0, 0)])["end_to_end_ips"] is None
    silent = Pass()
    silent.add(Times(decode=1.0), 0.5)
    summary = summarise_fleet([Part("a", 0.0, silent), part("b", 0.0, 2)])
    assert summary["device_ips"] is None
    assert summary["end_to_end_ips"] == pytest.approx(3 / 0.5)


@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"), st.floats(0, 100), st.integers(1, 9), st.floats(1.0, 900.0)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_together_is_never_more_than_the_devices_reached(
    shards: list[tuple[str, float, int, float]],
) -> None:
    """However shards lie in time, and however wrong clocks are."""
    summary = summarise_fleet([part(*one) for one in shards])
    for rate in ("device_ips", "end_to_end_ips"):
        assert summary[rate] <= sum(one[rate] for one in summary["devices"]) * (1 + 1e-3)
    assert sum(one["pictures"] for one in summary["devices"]) == sum(one[2] for one in shards)
