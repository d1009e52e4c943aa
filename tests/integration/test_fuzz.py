"""The fuzzer for a minute, and that it finds what it is there to find (tests/fuzz)."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.fuzz import kills, runner
from tests.fuzz.subject import NonsenseError, Subject

SEED = int(os.environ.get("FUZZ_SEED") or 11)
SECONDS = 7.0
KILLS = 3


@pytest.mark.parametrize("subject", runner.SUBJECTS)
def test_nothing_is_found(subject: str, repository: Path) -> None:
    keep = repository / "build" / "fuzz"
    report = runner.run(runner.SUBJECTS[subject], SEED, seconds=SECONDS, keep=keep)
    assert report.findings == []
    assert report.outcomes["refused"] > 0


def test_killed_at_random_moments_the_table_is_the_same(tmp_path: Path) -> None:
    assert kills.run(tmp_path, SEED, KILLS) == KILLS


class Faulty(Subject):
    """Has one fault per case: the number that is in its file."""

    CPU_S = 0.5
    MEMORY = 200 << 20
    FAULTS = ("a crash", "an exit", "a loop", "memory", "another exception", "nonsense", "silence")

    def prepare(self, name: str) -> None:
        super().prepare(name)
        number = int(name.rpartition("-")[2])
        (self.case / "fault").write_text(self.FAULTS[number % len(self.FAULTS)])

    def make(self, draw: random.Random) -> None:
        """All of it depends on the number."""

    def run(self) -> None:
        fault = (self.case / "fault").read_text()
        if fault == "a crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif fault == "an exit":
            os._exit(3)
        elif fault == "a loop":
            while True:
                pass
        elif fault == "memory":
            bytearray(300 << 20)
        elif fault == "another exception":
            raise KeyError("missing")
        elif fault == "nonsense":
            raise NonsenseError("it was taken")
        else:
            time.sleep(60)


def test_every_kind_of_fault_is_found_kept_and_repeatable(tmp_path: Path) -> None:
    place = "tests.integration.test_fuzz:Faulty"
    report = runner.run(place, 1, cases=7, keep=tmp_path, wall_s=5)
    assert len(report.findings) == report.outcomes["finding"] == 7
    said = {(one.kept / "case" / "fault").read_text(): one.what for one in report.findings}
    assert said.keys() == set(Faulty.FAULTS)
    assert said == {
        "a crash": "the process was ended by SIGSEGV",
        "an exit": "the process ended with exit code 3",
        "a loop": "it takes more processor time than a case may",
        "memory": said["memory"],
        "another exception": "KeyError: 'missing'",
        "nonsense": "NonsenseError: it was taken",
        "silence": "it hangs: nothing for 5 s",
    }
    assert said["memory"].startswith("it needed ")
    last = report.findings[-1]
    assert f"--seed 1 --case {last.case.split('-')[-1]}" in (last.kept / "finding.txt").read_text()
    again = runner.run(place, 1, first=6, cases=1, keep=tmp_path / "again", wall_s=5)
    (found,) = again.findings
    assert (found.case, found.what) == (last.case, last.what)
