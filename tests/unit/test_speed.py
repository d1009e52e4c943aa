"""Whether two rows differ in speed at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from cascadeport.results.run_record import Summary, Throughput
from cascadeport.results.speed import Speed, compare


def speed(own: Sequence[float], other: Sequence[float], pictures: int = 200) -> Speed | None:
    summaries = [
        Summary(repeats=[Throughput(device_ips=rate, pictures=count) for rate in rates])
        for rates, count in ((own, 200), (other, pictures))
    ]
    return compare(*summaries)


def test_a_row_that_is_clearly_faster_is_called_so() -> None:
    found = speed([60.1, 60.0, 59.8], [30.2, 30.0, 29.9])
    assert found is not None
    assert found.differs
    assert found.ratio == pytest.approx(1.997, abs=0.01)
    assert found.sentence.startswith("is faster: ratio 1.99")
    back = speed([30.2, 30.0, 29.9], [60.1, 60.0, 59.8])
    assert back is not None
    assert back.ratio == pytest.approx(1 / found.ratio)
    assert back.sentence.startswith("is slower")


def test_within_the_spread_of_repeats_rows_cannot_be_told_apart() -> None:
    found = speed([30.0, 32.0, 31.0], [31.5, 30.5, 32.5])
    assert found is not None
    assert found.differs is False
    assert "cannot be told from it" in found.sentence


def test_one_pass_cannot_be_told_from_chance() -> None:
    found = speed([60.0], [30.0, 30.1, 30.2])
    assert found is not None
    assert found.differs is None
    assert found.low is None
    assert "cannot tell that from chance" in found.sentence


def test_without_a_speed_or_over_other_pictures_there_is_nothing_to_compare() -> None:
    assert speed([], [30.0, 30.1]) is None
    assert speed([30.0, 30.1], [30.0, 30.1], pictures=20) is None
    empty = Summary(repeats=[Throughput(pictures=200)])
    assert compare(empty, empty) is None


@pytest.mark.parametrize("spreads", [(0.02, 0.02), (0.005, 0.05)])
def test_equal_rows_differ_by_chance_in_no_more_than_one_of_twenty(
    spreads: tuple[float, float],
) -> None:
    """The t-test's promise, also where one row spreads more than the other."""
    random = np.random.default_rng(11)
    false_alarms = missed = 0
    for _ in range(1000):
        own, other = (30 * np.exp(random.normal(0, spread, 3)) for spread in spreads)
        found, faster = speed(own.tolist(), other.tolist()), speed((1.3 * own).tolist(), other)
        assert found is not None
        assert faster is not None
        false_alarms += bool(found.differs)
        missed += not faster.differs
    assert false_alarms <= 65
    assert missed <= 250
