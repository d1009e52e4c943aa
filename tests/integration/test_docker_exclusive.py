"""Containers that measure on one device of an engine's host take turns."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cascadeport.containers import exclusive, sweep

from tests.helpers import docker_fixtures
from tests.helpers.docker_engine import PrivateEngine
from tests.helpers.docker_fixtures import Probe

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    with docker_fixtures.started() as engine:
        yield engine


@pytest.fixture
def probe(engine: PrivateEngine, tmp_path: Path) -> Iterator[Probe]:
    probe = Probe(engine, tmp_path)
    yield probe
    assert probe.left() == [], "a run must leave nothing on the engine"


def measure(probe: Probe, script: str) -> None:
    with contextlib.closing(probe.open()) as opened:
        opened.run(replace(probe.task(script), devices=("gpu0",)), probe.events.append)


def test_a_second_pass_waits_until_the_first_is_done(
    engine: PrivateEngine, probe: Probe, tmp_path: Path
) -> None:
    (tmp_path / "second").mkdir()
    second = Probe(engine, tmp_path / "second")
    first = threading.Thread(target=measure, args=(probe, "sleep 12; date +%s.%N > /out/ended"))
    first.start()
    with contextlib.closing(probe.client) as client:
        while exclusive._holder(client, "gpu0") is None:
            assert first.is_alive()
            time.sleep(0.05)
    measure(second, "echo > /out/began")
    first.join()
    ended = (probe.out / "ended").stat().st_mtime_ns
    assert (second.out / "began").stat().st_mtime_ns >= ended
    (told,) = [one["text"] for one in second.events if "Another run" in str(one.get("text"))]
    assert "measures on gpu0 of this host: waiting until it is done" in told


def test_what_a_dead_run_holds_is_free(
    engine: PrivateEngine, probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of this machine: at once. Of another one: when nothing of it has run for a minute."""
    measure(probe, "true")
    with contextlib.closing(probe.client) as client:
        image = client.images.list()[0].id

        def left_by(owner: str) -> Any:
            labels = {sweep.RUN: "a run that died", sweep.OWNER: owner}
            name = f"{exclusive.PREFIX}gpu0"
            return client.containers.create(image, ["true"], name=name, labels=labels)

        host, booted, *_ = sweep.owner().split("/")
        left_by(f"{host}/{booted}/4194303/1.0")
        with exclusive.held(client, ["gpu0"], image=image, run_id="x", waiting=pytest.fail):
            pass
        left_by("another-machine/1/2/3.0")
        told: list[str] = []

        def waiting(text: str) -> None:
            told.append(text)
            # A minute passes.
            monkeypatch.setattr(exclusive, "_STALE_S", 0.0)

        with exclusive.held(client, ["gpu0"], image=image, run_id="x", waiting=waiting):
            assert len(told) == 1
            assert "a run that died" in told[0]
