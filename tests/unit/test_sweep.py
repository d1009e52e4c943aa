"""What counts as a run that is over, and its leftovers as nobody's."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
from cascadeport.containers import sweep

from tests.helpers import contexts


def test_a_run_is_alive_when_clocks_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel computes the time of booting from the clock: it moves by a second now and then."""
    mine = {sweep.RUN: "mine", sweep.OWNER: sweep.owner()}
    assert not sweep.dead(mine)
    booted = psutil.boot_time()
    for moved in (-1, 1, 30):
        monkeypatch.setattr(psutil, "boot_time", lambda moved=moved: booted + moved)
        assert not sweep.dead(mine)


def test_a_run_of_a_process_that_ended_is_dead() -> None:
    code = "from cascadeport.containers import sweep; print(sweep.owner())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert sweep.dead({sweep.RUN: "its", sweep.OWNER: done.stdout.strip()})


def test_a_process_of_the_same_number_is_another_one() -> None:
    host, booted, pid, started = sweep.owner().split("/")
    other = f"{host}/{booted}/{pid}/{int(float(started)) + 100}"
    assert sweep.dead({sweep.RUN: "its", sweep.OWNER: other})


@pytest.mark.parametrize("owner", ["", "nonsense", "elsewhere/1/1/1", "a/b/c/d/e"])
def test_what_this_machine_cannot_know_counts_as_alive(owner: str) -> None:
    assert not sweep.dead({sweep.RUN: "its", sweep.OWNER: owner})


def test_engines_that_are_opened_at_once_are_runs_of_their_own() -> None:
    """Each removes what carries its name when it ends."""
    names = {contexts.context("cpu", engine="docker").engine.run_id for _ in range(3)}
    assert len(names) == 3
