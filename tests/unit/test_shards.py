"""Shards: every picture belongs to exactly one of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundle.errors import BundleError
from bundle.shards import ALL, Shard, parse_shard


@given(st.lists(st.integers(), max_size=50), st.integers(1, 60))
def test_every_item_is_in_one_shard(items: list[int], count: int) -> None:
    shares = [Shard(index, count).take(items) for index in range(1, count + 1)]
    for k, item in enumerate(items):
        assert shares[k % count].pop(0) == item
    assert not any(shares)


def test_what_is_understood() -> None:
    assert parse_shard("1/1") == ALL
    assert parse_shard("2/5") == Shard(2, 5)
    assert parse_shard("/5", {"JOB_COMPLETION_INDEX": "4"}) == Shard(5, 5)
    assert parse_shard("/5", {"CASCADEPORT_SLOT": "4"}) == Shard(5, 5)
    # What Swarm gives for slot 0: the node's id.
    assert parse_shard("/5", {"CASCADEPORT_SLOT": "wnjl2m4x1y2z3a4b5c6d7e8f9"}) == Shard(1, 5)
    assert (ALL.suffix, Shard(2, 5).suffix) == ("", ".2-of-5")


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("0/5", {}),
        ("6/5", {}),
        ("1/0", {}),
        ("5", {}),
        ("-1/5", {}),
        ("1/5\n", {}),
        ("١/5", {}),
        ("1/999999", {}),
        ("/5", {}),
        ("/5", {"JOB_COMPLETION_INDEX": "5"}),
        ("/5", {"JOB_COMPLETION_INDEX": "-1"}),
        ("/5", {"JOB_COMPLETION_INDEX": "x"}),
        ("/5", {"JOB_COMPLETION_INDEX": "wnjl2m4x1y2z3a4b5c6d7e8f9"}),
        ("/5", {"CASCADEPORT_SLOT": ""}),
        ("/5", {"CASCADEPORT_SLOT": "5"}),
        ("/5", {"CASCADEPORT_SLOT": "{{.Task.Slot}}"}),
    ],
)
def test_what_is_not(text: str, environment: dict[str, str]) -> None:
    with pytest.raises(BundleError, match=r"shard|JOB_COMPLETION_INDEX|SLOT"):
        parse_shard(text, environment)
