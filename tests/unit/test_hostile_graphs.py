"""Mutated graphs: checking and lowering them ends in a CascadeportError or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.graphs import NeutralGraphs, ReadyGraphs
from tests.fuzz.subject import Subject


@pytest.mark.parametrize(("subject", "count"), [(ReadyGraphs, 300), (NeutralGraphs, 150)])
def test_mutated_graphs(subject: type[Subject], count: int, tmp_path: Path) -> None:
    one = subject(tmp_path)
    found = set()
    for number in range(count):
        one.prepare(str(number))
        found.add(one.outcome())
    assert found == {"accepted", "refused"}
