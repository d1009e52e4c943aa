"""A search of a simulated target, in real containers: accuracies, no speeds, nothing chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cascadeport.base.errors import ExitCode
from cascadeport.base.progress import Reporter
from cascadeport.commands import tune
from cascadeport.config.options import Options
from cascadeport.tune import record, space

from tests.helpers import docker_fixtures
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.target_images import empty, environment

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with docker_fixtures.started() as engine:
        yield engine


def test_simulated_points_have_accuracies_only(
    engine: PrivateEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a processor's, which are measured; the search is of one axis, so that it ends."""
    for name, value in environment(engine, "310P3").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(space, "AXES", (space.NAMED["nms_levels"],))
    options = Options(
        simulate=True,
        limit=4,
        repeats=1,
        build=tmp_path / "build",
        results=tmp_path / "results",
    )
    wanted = tune.Wanted(budget=0.5, targets="cpu 310P3")
    code = tune.tune(options, Reporter(), wanted)
    assert code in (ExitCode.OK, ExitCode.UNDECIDED)
    folder = tmp_path / "results" / "demo-demo-first4"
    found = record.load(folder / record.NAME)
    simulated = {one.title: one for one in found.points if one.target == "310P3"}
    assert set(simulated) == {"310P3", "310P3, nms levels within"}
    for one in simulated.values():
        assert one.simulated
        assert one.map is not None
        assert (one.ips, one.device_ips, one.end_to_end_ips, one.speed) == (None,) * 4
        assert not one.on_frontier
    assert found.chosen is not None
    assert found.chosen.target == "cpu"
    assert "no speed" in (folder / record.PICTURE).read_text(encoding="utf-8")
    assert empty(engine)
