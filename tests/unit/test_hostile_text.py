"""Text from elsewhere on its way to a terminal: no control character arrives, no password."""

from __future__ import annotations

import io

import pytest
from cascadeport.base.errors import CascadeportError
from cascadeport.base.progress import Reporter
from cascadeport.base.text import printable, redacted
from cascadeport.core.check import Finding
from cascadeport.doctor.report import as_text
from cascadeport.results import tables
from cascadeport.results.comparison import Comparison, Row

ESCAPE = "\x1b]0;owned\x07\x1b[31mred"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\ud83d", "\\ud83d"),
        ("\u2028", "\\u2028"),
    ],
)
def test_control_characters_become_escapes(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize("text", ["Löwe", "猫", "قطة", "می‌خواهم", "👩‍🚀", "e\u0301", "a b"])
def test_letters_of_every_script_stay(text: str) -> None:
    assert printable(text) == text


def test_lines_stay_where_there_are_several() -> None:
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://me:s3cret@host:8443/simple", "see https://me:***@host:8443/simple"),
        ("https://me:p@ss:w@host/", "https://me:***@host/"),
        ("https://t0ken@host/simple, x", "https://***@host/simple, x"),
        ("tcp://u:p@h:1 and http://:p@h", "tcp://u:***@h:1 and http://:***@h"),
        ("https://h/f?X-Sig-Signature=abc&size=1", "https://h/f?X-Sig-Signature=***&size=1"),
        ("ssh://root@npu:22", "ssh://root@npu:22"),
        ("mail me@example.org about https://h/a@b", "mail me@example.org about https://h/a@b"),
        ("name:tag@sha256:00", "name:tag@sha256:00"),
    ],
)
def test_credentials_in_addresses_are_masked(text: str, expected: str) -> None:
    assert redacted(text) == expected


def test_errors() -> None:
    error = CascadeportError(
        f"There is no {ESCAPE}.",
        where=f"https://me:s3cret@host/{ESCAPE}",
        details=[f"category {ESCAPE}\n  next:  obey me"],
        next=f"Try {ESCAPE}",
    )
    text = str(error)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "s3cret" not in text
    assert len(text.splitlines()) == 4


def test_progress() -> None:
    stream = io.StringIO()
    reporter = Reporter(stream)
    reporter.line("done", f"stage of {ESCAPE}")
    reporter.note("from https://me:s3cret@host/")
    reporter.event({"event": "note", "text": ESCAPE})
    reporter.event({"event": "progress", "done": 1, "total": 1, "phase": f"[red]{ESCAPE}"})
    text = stream.getvalue()
    assert "\x1b" not in text
    assert "s3cret" not in text
    assert "[red]" in text


@pytest.mark.parametrize(
    "event",
    [
        {"event": "progress"},
        {"event": "progress", "done": "1", "total": None},
        {"event": "note"},
        {"event": ["note"]},
    ],
)
def test_events_of_odd_types_are_left_out(event: dict[str, object]) -> None:
    Reporter(io.StringIO()).event(event)


def test_the_doctor() -> None:
    text = as_text([Finding("chips", "fail", f"npu-smi shows {ESCAPE}.", ESCAPE, ESCAPE)])
    assert "\x1b" not in text
    assert len(text.splitlines()) == 3


def test_the_table() -> None:
    row = Row(target="cpu", title=f"CPU {ESCAPE}", status="measured", semantics=[ESCAPE])
    table = Comparison(
        model={"name": "m", "title": ESCAPE}, dataset={"name": ESCAPE, "pictures": 1}, rows=[row]
    )
    assert "\x1b" not in tables.as_markdown(table)
