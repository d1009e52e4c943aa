"""One pass at a time on a device of this machine, whichever folder it was started from."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.core import exclusive

from tests.helpers.command import ENV

# Holds a device until its standard input ends; with a word more, a child of it inherits the lock.
_HOLD = """
import subprocess, sys
from pathlib import Path
from cascadeport.core import exclusive
folder = Path(sys.argv[1])
with exclusive.held(["it"], "the first", lambda text: None, folder) as locks:
    if len(sys.argv) > 2:
        child = subprocess.Popen(["sleep", "60"], pass_fds=locks, stdout=subprocess.DEVNULL)
        print(child.pid, flush=True)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "devices"


@contextlib.contextmanager
def holding(folder: Path, *more: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder), *more],
        env={**os.environ, **ENV},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            stream.close()


def is_free(folder: Path) -> bool:
    """Whether a pass could begin now."""
    done = threading.Event()

    class _TakenError(Exception):
        pass

    def waiting(text: str) -> None:
        raise _TakenError

    try:
        with exclusive.held(["it"], "a look", waiting, folder):
            done.set()
    except _TakenError:
        return False
    return done.is_set()


def until_free(folder: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_free(folder):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_pass_waits_and_says_for_whom(folder: Path) -> None:
    told: list[str] = []
    with holding(folder) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"

        def waiting(text: str) -> None:
            told.append(text)
            # It is asked for once; then the other one ends.
            assert other.stdin is not None
            other.stdin.close()

        with exclusive.held(["it"], "the second", waiting, folder):
            assert other.wait(20) == 0
    assert told == [
        "Another run measures on it of this machine (the first): waiting until it is done."
    ]


def test_other_devices_are_free(folder: Path) -> None:
    with holding(folder) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert not is_free(folder)
        with exclusive.held(["another", "third"], "me", pytest.fail, folder):
            pass


def test_a_run_that_was_killed_leaves_no_lock(folder: Path) -> None:
    with holding(folder) as other:
        assert other.stdout is not None
        other.stdout.readline()
        other.send_signal(signal.SIGKILL)
        other.wait()
        until_free(folder)


def test_a_pass_whose_run_was_killed_still_measures(folder: Path) -> None:
    with holding(folder, "child") as other:
        assert other.stdout is not None
        child = int(other.stdout.readline())
        other.stdout.readline()
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert not is_free(folder)
        os.kill(child, signal.SIGKILL)
        until_free(folder)


def test_every_user_may_use_the_locks(folder: Path) -> None:
    umask = os.umask(0o077)
    try:
        with exclusive.held(["it"], "me", pytest.fail, folder):
            pass
    finally:
        os.umask(umask)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777
    assert stat.S_IMODE((folder / "it.lock").stat().st_mode) == 0o666


def test_a_lock_that_somebody_removed_is_not_taken_for_it(folder: Path) -> None:
    """A cleaner of temporary files: whoever comes next must not measure beside the first."""
    with exclusive.held(["it"], "me", pytest.fail, folder):
        (folder / "it.lock").unlink()
        # Nothing can keep this one from a new file; the lock after it is one again.
        with exclusive.held(["it"], "another", pytest.fail, folder):
            assert not is_free(folder)
    assert is_free(folder)


def test_what_is_in_the_way(folder: Path, tmp_path: Path) -> None:
    (folder / "it.lock").mkdir(parents=True)
    with pytest.raises(CascadeportError, match="lock of a device cannot be opened"):
        with exclusive.held(["it"], "me", pytest.fail, folder):
            pass
    (folder / "it.lock").rmdir()
    # A link that another user laid does not make us write into a file of ours.
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (folder / "it.lock").symlink_to(victim)
    with pytest.raises(CascadeportError, match="lock of a device cannot be opened"):
        with exclusive.held(["it"], "me", pytest.fail, folder):
            pass
    assert victim.read_text() == "precious"
    (folder / "it.lock").unlink()
    elsewhere = folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(elsewhere)
    with pytest.raises(CascadeportError, match="not in a folder"):
        with exclusive.held(["it"], "me", pytest.fail, folder):
            pass
    assert list(elsewhere.iterdir()) == []
