"""Runs a subject's cases in child processes, and keeps what it finds."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
SUBJECTS = {
    "pictures": "tests.fuzz.inputs:Pictures",
    "annotations": "tests.fuzz.inputs:Annotations",
    "cards": "tests.fuzz.inputs:Cards",
    "archives": "tests.fuzz.inputs:Archives",
    "readygraphs": "tests.fuzz.graphs:ReadyGraphs",
    "neutralgraphs": "tests.fuzz.graphs:NeutralGraphs",
    "records": "tests.fuzz.records:Records",
}
#: Seconds without a word from the child after which a case hangs, e.g. in reading a pipe.
WALL_S = 120.0


@dataclass(frozen=True)
class Finding:
    """A case that something is wrong with.

    Args:
        case: Its name, e.g. `pictures-7-123`.
        what: What is wrong, in a line.
        kept: The folder with its files.
    """

    case: str
    what: str
    kept: Path


@dataclass
class Report:
    """What became of a subject's cases.

    Args:
        outcomes: How many cases were accepted, refused, or a finding.
        findings: The findings.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


class Child:
    """A child process that runs the cases of a subject from a number on."""

    def __init__(self, place: str, seed: int, first: int, folder: Path) -> None:
        path = os.pathsep.join((str(REPOSITORY), str(REPOSITORY / "scripts")))
        self.errors = (folder / "stderr").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.child", place, str(seed), str(first), str(folder)],
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            start_new_session=True,
        )
        self._rest = b""

    def next(self, seconds: float) -> dict[str, Any] | None:
        """What it says next; None: it ended.

        Raises:
            TimeoutError: It said nothing for that long.
        """
        assert self.process.stdout is not None
        end = time.monotonic() + seconds
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self.process.stdout], [], [], end - time.monotonic())
            if not ready:
                raise TimeoutError
            block = os.read(self.process.stdout.fileno(), 1 << 16)
            if not block:
                return None
            self._rest += block
        line, _, self._rest = self._rest.partition(b"\n")
        said: dict[str, Any] = json.loads(line)
        return said

    def ended(self) -> tuple[int, str]:
        """The exit code of one that said its last, and the end of what it wrote in error."""
        code = self.process.wait()
        self.errors.seek(0)
        return code, self.errors.read()[-3000:].decode("utf-8", "replace")

    def kill(self) -> None:
        """Ends it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.errors.close()


def run(
    place: str,
    seed: int,
    *,
    first: int = 0,
    seconds: float | None = None,
    cases: int | None = None,
    keep: Path,
    wall_s: float = WALL_S,
) -> Report:
    """Runs cases of one subject.

    Args:
        place: The subject: `module:class`.
        seed: Decides, with a case's number, everything in it.
        first: The number of the first case.
        seconds: How long.
        cases: How many at most.
        keep: Where findings are kept, a folder each.
        wall_s: Seconds after which a case hangs.
    """
    report = Report()
    label = place.rpartition(":")[2].lower()
    end = None if seconds is None else time.monotonic() + seconds
    number, done = first, 0

    def finding(folder: Path, what: str, details: str) -> None:
        name = f"{label}-{seed}-{number}"
        report.outcomes["finding"] += 1
        kept = keep / name
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        if (folder / "case").is_dir():
            shutil.copytree(folder / "case", kept / "case", symlinks=True)
        again = f"python -m tests.fuzz --subject {label} --seed {seed} --case {number}"
        (kept / "finding.txt").write_text(f"{what}\nAgain: {again}\n\n{details}", "utf-8")
        report.findings.append(Finding(name, what, kept))

    def over() -> bool:
        return (cases is not None and done >= cases) or (end is not None and time.monotonic() > end)

    while not over():
        with tempfile.TemporaryDirectory(prefix="cascadeport-fuzz-") as scratch:
            folder = Path(scratch)
            child = Child(place, seed, number, folder)
            began = False
            try:
                while not over():
                    # Importing numpy on a busy machine takes longer than a case.
                    said = child.next(wall_s if began else WALL_S)
                    if said is None:
                        code, text = child.ended()
                        if not began:
                            raise RuntimeError(f"{place} does not begin: {text}")
                        finding(folder, _ended(code), text)
                        number, done = number + 1, done + 1
                        break
                    if "begins" in said:
                        number, began = said["begins"], True
                        continue
                    if said["outcome"] == "finding":
                        finding(folder, said["finding"], said["details"])
                    else:
                        report.outcomes[said["outcome"]] += 1
                    number, done = said["number"] + 1, done + 1
                    if said["outcome"] == "finding":
                        break
            except TimeoutError:
                finding(folder, f"it hangs: nothing for {wall_s:.0f} s", "")
                number, done = number + 1, done + 1
            finally:
                child.kill()
    return report


def _ended(code: int) -> str:
    if code == -signal.SIGPROF:
        return "it takes more processor time than a case may"
    if code < 0:
        return f"the process was ended by {signal.Signals(-code).name}"
    return f"the process ended with exit code {code}"
