"""Which targets run side by side, and the command line that each of them gets."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.progress import Reporter
from cascadeport.cli import parser
from cascadeport.cli.door import Door
from cascadeport.commands import several
from cascadeport.config import hosts
from cascadeport.config.options import Options


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> dict[str, hosts.Host]:
    found: dict[str, hosts.Host] = {}
    monkeypatch.setattr(hosts, "load", lambda path: found)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return found


def test_names_are_separated_by_spaces_or_commas_and_taken_once() -> None:
    assert several.names(" 310 310P3,T4 310 ", Options()) == ("310", "310P3", "T4")


@pytest.mark.parametrize(
    ("text", "told"), [("310 T5", "no target named 'T5'"), (" , ", "names no")]
)
def test_a_name_that_is_none_is_refused_before_anything_runs(text: str, told: str) -> None:
    with pytest.raises(CascadeportError, match=told):
        several.names(text, Options())


def test_targets_of_one_host_take_turns(rows: dict[str, hosts.Host]) -> None:
    rows["310"] = rows["310P3"] = hosts.Host(host="ssh://root@npu")
    rows["T4"] = hosts.Host(host="tcp://gpu:2376", tls="~/tls")
    groups = several.by_host(("310", "T4", "310P3", "cpu"), Options())
    assert groups == {
        "ssh://root@npu": ["310", "310P3"],
        "tcp://gpu:2376": ["T4"],
        "this machine": ["cpu"],
    }


def test_this_machine_and_its_own_engine_are_one_host(rows: dict[str, hosts.Host]) -> None:
    rows["310"] = hosts.Host(host="unix:///run/other.sock")
    assert several.by_host(("cpu", "310", "T4"), Options()) == {
        "this machine": ["cpu", "310", "T4"]
    }


def test_every_option_reaches_the_run_of_each_target() -> None:
    options = Options(
        model="demo",
        data="a folder",
        limit=3,
        simulate=True,
        keep_going=True,
        nms_levels="within",
        proposals=700,
        checkpoint=Path("/c.pth"),
        results=Path("/r"),
        build=Path("/b"),
    )
    words = several.command_line(options, "310P3")[2:]
    parsed = parser.parse(words, Door())
    assert parsed is not None
    command, call = parsed
    assert command.name == "all"
    assert call.options == Options(**{**vars(options), "target": "310P3"})


MEETING = """
import pathlib, sys, time
me, other, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
(folder / me).touch()
end = time.monotonic() + 60
while not (folder / other).exists():
    if time.monotonic() > end:
        sys.exit(3)
    time.sleep(0.02)
"""
ALONE = """
import os, sys
mark = os.path.join(sys.argv[3], "running")
os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
os.remove(mark)
"""


@pytest.mark.parametrize(
    ("script", "groups"),
    [(MEETING, {"here": ["one"], "there": ["two"]}), (ALONE, {"here": ["one", "two"]})],
)
def test_hosts_work_side_by_side_and_each_on_one_target_at_a_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    groups: dict[str, list[str]],
) -> None:
    """Those who meet must run at the same time; those who want to be alone must not."""
    others = {"one": "two", "two": "one"}
    monkeypatch.setattr(several, "by_host", lambda found, options: groups)
    monkeypatch.setattr(
        several,
        "command_line",
        lambda options, name: [sys.executable, "-c", script, name, others[name], str(tmp_path)],
    )
    monkeypatch.setattr(several, "compared", lambda *given: [])
    assert several.run(["one", "two"], Options(), Reporter(io.StringIO())) == 0
