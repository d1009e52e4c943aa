"""The command line as a process: signals, locales, and outputs that cannot be written."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from cascadeport.base.errors import ExitCode

from tests.helpers import small_world

NOT_INHERITED = ("PYTHON", "LC_", "LANG", "CASCADEPORT_")


def environment(**more: str) -> dict[str, str]:
    """This process's, without what the tests are about; PYTHONPATH is not needed."""
    return {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)} | more


def command(repository: Path, *words: str) -> list[str]:
    return [sys.executable, str(repository / "scripts" / "cascadeport"), *words]


@pytest.fixture
def world(tmp_path: Path) -> Sequence[str]:
    """Words that name a small model and data whose names are not ASCII."""
    folder = tmp_path / "Straße"
    (folder / "Bilder ü").mkdir(parents=True)
    small_world.card(folder)
    card = folder / "small.toml"
    card.write_text(card.read_text("utf-8").replace("title = ", 'title = "Größe –" #'), "utf-8")
    small_world.dataset(folder / "Bilder ü")
    return (
        f"--model={card}",
        f"--data={folder / 'Bilder ü'}",
        f"--build={folder / 'build'}",
        f"--results={folder / 'results'}",
        "--repeats=1",
    )


def latin(folder: Path) -> dict[str, str]:
    """A locale of Latin-1, made where the system has none."""
    name = "de_DE.ISO-8859-1"
    if shutil.which("localedef"):
        subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(folder / name)],
            capture_output=True,
            check=False,
        )
    return {"LC_ALL": name, "LOCPATH": str(folder)}


ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.mark.parametrize("case", ["latin", "ascii", "output latin-1", "output ascii"])
def test_no_locale_keeps_a_run_from_its_table(
    repository: Path, world: Sequence[str], tmp_path: Path, case: str
) -> None:
    more = {
        "latin": latin(tmp_path),
        "ascii": ASCII,
        "output latin-1": {"PYTHONIOENCODING": "latin-1"},
        "output ascii": {**ASCII, "PYTHONIOENCODING": "ascii"},
    }[case]
    for attempt in ("first", "second"):
        done = subprocess.run(
            command(repository, "all", *world),
            env=environment(**more),
            capture_output=True,
            check=False,
            timeout=120,
        )
        said = done.stderr.decode("utf-8", "replace")
        assert done.returncode == ExitCode.OK, (attempt, said)
        assert b"| measured |" in done.stdout
        assert "Traceback" not in said
    # Names are the same names again: nothing was lost, and nothing is done twice.
    assert said.count("skip ") >= 2, said


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["plan"], ["doctor"], []])
def test_a_full_disk_behind_standard_output(repository: Path, words: list[str]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = subprocess.run(
            command(repository, *words),
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == ExitCode.OUTPUT, done.stderr
    assert "cascadeport: The output could not be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_nobody_reads_standard_output(repository: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command(repository, "plan"),
        env=environment(),
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (ExitCode.BROKEN_PIPE, "")


def test_closed_streams(repository: Path) -> None:
    line = " ".join(f"'{word}'" for word in command(repository, "plan"))
    done = subprocess.run(f"{line} >&- 2>&-", shell=True, env=environment(), check=False)
    assert done.returncode == ExitCode.OK


# A command that waits inside a context, and says that it was cleaned up.
WAITING = """
import contextlib, sys, time
sys.path[:0] = {paths!r}
from cascadeport.cli import commands, main
@contextlib.contextmanager
def opened():
    try:
        yield
    finally:
        time.sleep(0.3)
        print("cleaned up", flush=True)
def wait(call):
    with opened():
        print("waiting", flush=True)
        time.sleep(60)
    return 0
plan = commands.NAMED["plan"]
object.__setattr__(plan, "run", wait)
sys.exit(main.main(["plan"]))
"""


def waiting(repository: Path, before: str = "") -> subprocess.Popen[str]:
    script = WAITING.format(paths=[str(repository / "scripts"), str(repository)])
    process = subprocess.Popen(
        [sys.executable, "-c", before + script],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    return process


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, ExitCode.TERMINATED),
        (signal.SIGHUP, ExitCode.HANGUP),
        (signal.SIGINT, ExitCode.INTERRUPTED),
    ],
)
def test_a_signal_cleans_up_and_has_its_code(
    repository: Path, number: signal.Signals, code: ExitCode
) -> None:
    process = waiting(repository)
    process.send_signal(number)
    if number != signal.SIGINT:
        # A closing terminal sends more than one; the clean-up goes on.
        time.sleep(0.1)
        process.send_signal(number)
    out, said = process.communicate(timeout=30)
    assert out == "cleaned up\n"
    assert said == f"cascadeport: {code.meaning}\n"
    assert process.returncode == code == 128 + number


def test_nohup_stays_nohup(repository: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    process = waiting(repository, ignoring)
    process.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=30)[0] == "cleaned up\n"
    assert process.returncode == ExitCode.TERMINATED


def test_a_terminal_that_is_gone_does_not_change_the_code(repository: Path) -> None:
    """Nothing that is said after a hang-up can be written."""
    process = waiting(repository)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == ExitCode.HANGUP
