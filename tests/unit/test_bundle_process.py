"""A runtime in a process of its own: the same results, and its exit is an error."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle.errors import BundleError
from bundle.group import Inferred
from bundle.job import Job
from bundle.run import run
from bundle.runners import Outputs, needs_own_process, open_runner
from bundle.stream import Stream
from tests.helpers import bundle_jobs as jobs

OWN_PROCESS = {"options": {"own_process": True}}


def failure_of(content: dict[str, Any], load: Callable[[Job], jobs.Scripted]) -> BundleError:
    """The error that a pass ends with."""
    job = jobs.checked(content)
    with pytest.raises(BundleError) as caught, Stream(job, load) as stream:
        stream.run(job.pictures, lambda result: None)
    return caught.value


def test_aclruntime_needs_own_process_and_onnxruntime_does_not(tmp_path: Path) -> None:
    content = jobs.small(tmp_path)
    assert not needs_own_process(jobs.checked(content))
    content["runner"]["name"] = "aclruntime"
    assert needs_own_process(jobs.checked(content))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_results_are_the_same(tmp_path: Path, dtype: str) -> None:
    texts = set()
    for name, options in (("here", {}), ("process", {"own_process": True})):
        content = jobs.small(tmp_path, input={"dtype": dtype}, runner={"options": options})
        record = run(jobs.checked(content), str(tmp_path / name))
        assert record["environment"]["providers"] == ["CPUExecutionProvider"]
        texts.add((tmp_path / name / "detections.json").read_bytes())
    assert len(texts) == 1


def test_chips_have_a_process_each_and_share_the_pictures(tmp_path: Path) -> None:
    """The answer carries the process, the chip and a sum over the input that it saw."""
    options = {"own_process": True, "devices": [4, 7, 9]}
    content = jobs.small(tmp_path, runner={"options": options}, stream={"workers": 3, "queue": 3})
    sizes = [(20 + 7 * n, 50) for n in range(30)]
    content["pictures"]["items"] = jobs.write_pictures(tmp_path / "pictures", sizes)
    job = jobs.checked(content)

    def load(lane: Job) -> jobs.Scripted:
        device = lane.runner.options["device"]

        def answer(batch: np.ndarray) -> Outputs:
            row = [[os.getpid(), device, batch.sum(), 0, 0]]
            return Outputs(np.array(row, np.float64), np.zeros(1, np.int64))

        return jobs.Scripted(answer)

    seen: list[tuple[int, float, float, float]] = []

    def finish(result: Any) -> None:
        assert isinstance(result, Inferred)
        process, device, total = result.outputs.boxes[0, :3]
        seen.append((result.picture.id, process, device, total))

    with Stream(job, load) as stream:
        stream.run(job.pictures, finish)
    assert [one[0] for one in seen] == [picture.id for picture in job.pictures]
    assert [one[2] for one in seen] == [4, 7, 9] * 10
    processes = {one[1] for one in seen}
    assert len(processes) == 3
    assert os.getpid() not in processes

    alone = jobs.checked({**content, "runner": {**content["runner"], "options": {}}})
    sums: list[float] = []

    def here(batch: np.ndarray) -> Outputs:
        sums.append(float(batch.sum()))
        return jobs.nothing(batch)

    with Stream(alone, lambda lane: jobs.Scripted(here)) as stream:
        stream.run(alone.pictures, lambda result: None)
    assert [one[3] for one in seen] == sums


def test_errors_keep_all_their_parts(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, runner=OWN_PROCESS)

    def unloadable(lane: Job) -> jobs.Scripted:
        raise BundleError("no chip", "chip 3", "look for it")

    failure = failure_of(content, unloadable)
    assert (failure.what, failure.where, failure.next) == ("no chip", "chip 3", "look for it")

    def broken(batch: np.ndarray) -> Outputs:
        raise BundleError("507011", "chip 3", "reset it")

    failure = failure_of(content, lambda lane: jobs.Scripted(broken))
    assert (failure.what, failure.where, failure.next) == ("507011", "chip 3", "reset it")

    def strange(batch: np.ndarray) -> Outputs:
        raise ValueError("what is this?")

    failure = failure_of(content, lambda lane: jobs.Scripted(strange))
    assert "ValueError: what is this?" in failure.what


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_runtime_that_dies_is_an_error(tmp_path: Path, number: signal.Signals) -> None:
    def die(batch: np.ndarray) -> Outputs:
        os.kill(os.getpid(), number)
        raise AssertionError

    failure = failure_of(jobs.small(tmp_path, runner=OWN_PROCESS), lambda lane: jobs.Scripted(die))
    assert failure.what == f"The runtime's process ended by signal {int(number)}."

    def die_at_once(lane: Job) -> jobs.Scripted:
        os._exit(7)

    failure = failure_of(jobs.small(tmp_path, runner=OWN_PROCESS), die_at_once)
    assert failure.what == "The runtime's process ended with code 7."


def test_a_second_chip_that_fails_closes_the_first(tmp_path: Path) -> None:
    content = jobs.small(tmp_path, runner={"options": {"devices": [0, 1]}})
    loaded: list[jobs.Scripted] = []

    def load(lane: Job) -> jobs.Scripted:
        if lane.runner.options["device"] == 1:
            raise BundleError("no chip 1")
        loaded.append(jobs.Scripted(jobs.nothing))
        return loaded[-1]

    assert failure_of(content, load).what == "no chip 1"
    assert loaded[0].closed


HOST = """
import json, os, sys, time
from bundle.job import check_job
from bundle.runners import Outputs, Runner
from bundle.stream import Stream

class Slow(Runner):
    def run(self, batch):
        print(os.getpid(), flush=True)
        time.sleep(600)

with Stream(check_job(json.load(open(sys.argv[1])), "/"), lambda lane: Slow()) as stream:
    stream.run(stream._job.pictures, print)
"""


def test_a_parent_that_is_killed_takes_an_idle_child_with_it(tmp_path: Path) -> None:
    """Two chips: the child that sleeps in its device is ended here; the idle one ends itself."""
    content = jobs.small(tmp_path, runner={"options": {"own_process": True, "devices": [0, 1]}})
    content["pictures"]["items"] = content["pictures"]["items"][:1]
    path = jobs.write(tmp_path / "job.json", content)
    parent = subprocess.Popen(
        [sys.executable, "-c", HOST, str(path)],
        env=jobs.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    busy = int(parent.stdout.readline())
    threads = Path(f"/proc/{parent.pid}/task").iterdir()
    children = {
        int(child) for thread in threads for child in (thread / "children").read_text().split()
    }
    (idle,) = children - {busy}
    parent.kill()
    parent.wait()
    os.kill(busy, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{idle}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    parent.stdout.close()
    assert not Path(f"/proc/{idle}").exists()


def test_what_a_runtime_prints_does_not_mix_with_the_events(tmp_path: Path) -> None:
    """Runtimes print on standard output, from C as well; events have it for themselves."""
    noisy = tmp_path / "noisy"
    noisy.mkdir()
    (noisy / "onnxruntime.py").write_text(
        "import os, sys\nprint('[INFO] from Python')\nos.write(1, b'[INFO] from C\\n')\n"
        "sys.path.remove(os.path.dirname(__file__))\ndel sys.modules['onnxruntime']\n"
        "import onnxruntime\nsys.modules['onnxruntime'] = onnxruntime\n"
    )
    path = jobs.write(tmp_path / "job.json", jobs.small(tmp_path))
    environment = jobs.environment()
    environment["PYTHONPATH"] = str(noisy) + os.pathsep + environment["PYTHONPATH"]
    done = subprocess.run(
        jobs.command("run", path, tmp_path / "out"),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert jobs.events(done.stdout)[-1] == {"event": "done"}
    assert "from Python" in done.stderr
    assert "from C" in done.stderr


def test_what_a_runtime_prints_from_c_is_not_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is in a buffer of the C library, and the process ends without emptying it."""

    libc = ctypes.CDLL(None)
    buffer = ctypes.create_string_buffer(4096)

    def answer(batch: np.ndarray) -> Outputs:
        libc.puts(b"[ERROR] from C")
        raise BundleError("507011")

    def load(lane: Job) -> jobs.Scripted:
        # As where PYTHONUNBUFFERED is not set and standard output is not a terminal.
        libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), buffer, 0, len(buffer))
        return jobs.Scripted(answer)

    failure_of(jobs.small(tmp_path, runner=OWN_PROCESS), load)
    assert "[ERROR] from C" in capfd.readouterr().out


def test_the_loader_of_the_runner_is_what_it_is_elsewhere(tmp_path: Path) -> None:
    """In its own process, a network that violates the contract is refused in the same words."""
    content = jobs.small(tmp_path, outputs={"boxes": "dets"})
    with pytest.raises(BundleError) as here:
        open_runner(jobs.checked(content))
    content["runner"]["options"] = {"own_process": True}
    with pytest.raises(BundleError) as there:
        run(jobs.checked(content), str(tmp_path / "out"))
    assert (there.value.what, there.value.next) == (here.value.what, here.value.next)
