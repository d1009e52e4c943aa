"""The comparison on a terminal: it fits, and says what the Markdown says."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cascadeport.report import files as comparison_files
from cascadeport.results import columns, notes, tables
from cascadeport.results.comparison import Check, Comparison, Row
from cascadeport.results.numbers import NONE
from cascadeport.results.run_record import Statistics
from cascadeport.results.terminal import TerminalTable
from rich.cells import cell_len
from rich.console import Console

SEMANTICS = ["NMS in float16", "500 proposals instead of 1000"]
CHECKS = [Check(name="accuracy", text="")]


def comparison() -> Comparison:
    return Comparison(
        model={"name": "m", "title": "Detector [bold]R101[/bold]"},
        dataset={"name": "coco", "pictures": 5000},
        rows=[
            Row(
                target="cpu",
                title="CPU, onnxruntime",
                status="measured",
                map=0.4498,
                map50=0.637,
                map75=0.489,
                pictures=5000,
                chip_ips=0.31,
                device_ips=0.31,
                end_to_end_ips=0.30,
                latency_ms=Statistics(n=5000, mean=3225.1, p50=3100.2, p90=3500.3),
                checks=CHECKS,
                verdict_reason="it is the reference",
            ),
            Row(
                target="310P3-levels-within",
                title="Ascend 310P3 (proposals within levels, NMS in float16)",
                status="measured",
                map=0.4315,
                map50=0.629,
                map75=0.48,
                delta_map=-0.0183,
                delta_low=-0.025,
                delta_high=-0.012,
                against="CPU, onnxruntime",
                pictures=5000,
                chip_ips=3.61,
                device_ips=3.61,
                end_to_end_ips=3.55,
                published_ratio=0.97,
                verdict="fail",
                verdict_reason="mAP is −1.83 points from CPU, onnxruntime",
                checks=CHECKS,
                semantics=SEMANTICS,
            ),
            Row(
                target="310",
                title="Ascend 310",
                status="simulated",
                map=0.44,
                pictures=5000,
                verdict="undecided",
                verdict_reason="more pictures would decide",
                checks=CHECKS,
                semantics=SEMANTICS,
            ),
            Row(
                target="T4",
                title="\x1b[31mT4\x07",
                status="invalid",
                reason="another bundle",
                verdict="fail",
                checks=CHECKS,
            ),
            Row(
                target="310",
                title="你好, published",
                status="published",
                map=0.452,
                chip_ips=0.673411,
                device_ips=2.693644,
                reason="a README",
            ),
        ],
    )


def printed(width: int, table: Comparison | None = None) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, emoji=False, color_system=None)
    console.print(TerminalTable(table or comparison()))
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_it_fits_and_has_every_number_of_the_markdown(width: int) -> None:
    table = comparison()
    text = printed(width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    markdown = tables.as_markdown(table)
    joined = " ".join(text.split())
    for row in table.rows:
        for column in columns.of(table)[1:]:
            cell = column.cell(row)
            assert re.search(rf"\| +{re.escape(cell)} +\|", markdown), (column.name, cell)
            assert cell == NONE or cell in joined, (column.name, cell)
    numbers = re.compile(r"[+−]?\d+\.\d+")
    assert set(numbers.findall(joined)) == set(numbers.findall(markdown))


def test_what_does_not_fit_is_below_its_row_and_at_200_columns_nothing_is() -> None:
    wide = printed(200).splitlines()
    row = next(line for line in wide if line.startswith("CPU, onnxruntime "))
    for number in ("0.450", "0.637", "0.489", "5000", "0.31", "0.30", "3225.10", "3500.30"):
        assert number in row
    narrow = printed(60).splitlines()
    start = next(i for i, line in enumerate(narrow) if line.startswith("CPU, onnxruntime "))
    assert "reference" in narrow[start]
    assert "measured" in narrow[start]
    below = " ".join(narrow[start + 1 : start + 6])
    assert "mAP50 0.637 · mAP75 0.489" in below
    assert "latency mean ms 3225.10" in below


def test_columns_without_a_value_are_left_out() -> None:
    text = printed(200)
    assert "p90" in text
    assert "p99" not in text
    assert "p99" not in tables.as_markdown(comparison())
    without = comparison()
    rows = [row.model_copy(update={"published_ratio": None}) for row in without.rows]
    assert "measured /" not in printed(200, without.model_copy(update={"rows": rows}))


def test_a_note_about_several_rows_is_said_once() -> None:
    found = notes.of(comparison())
    both = [note for note in found if len(note.about) == 2]
    assert [note.sentences for note in both] == [tuple(SEMANTICS)]
    for text in (printed(120), tables.as_markdown(comparison())):
        assert text.count("500 proposals instead of 1000") == 1
        assert text.count("INVALID: another bundle.") == 1


def test_a_terminal_obeys_nothing_in_a_title() -> None:
    text = printed(120)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\x1b[31mT4\\x07" in text
    assert "[bold]R101[/bold]" in text


def test_verdict_and_status_are_words_in_colour() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80, force_terminal=True, color_system="standard").print(
        TerminalTable(comparison())
    )
    text = stream.getvalue()
    for word in ("FAIL", "UNDECIDED", "INVALID", "simulated"):
        assert re.search(rf"\x1b\[[0-9;]+m{word}\x1b\[0m", text), word


def shown(tmp_path: Path, repository: Path, *, terminal: bool) -> str:
    """What is printed to a real terminal, or into a pipe."""
    comparison_files.write(comparison(), tmp_path)
    code = (
        "from pathlib import Path; from cascadeport.report import files as comparison_files; "
        "from cascadeport.results import printing; "
        f"printing.show(comparison_files.read(Path({str(tmp_path)!r})))"
    )
    path = os.pathsep.join([str(repository / "scripts"), str(repository)])
    env = {**os.environ, "PYTHONPATH": path, "COLUMNS": "80", "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    command = [sys.executable, "-c", code]
    if not terminal:
        # A build server that asks for colour gets Markdown all the same.
        env["FORCE_COLOR"] = "1"
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=env, stdout=theirs) as process:
        os.close(theirs)
        found = b""
        while True:
            try:
                part = os.read(ours, 1 << 16)
            except OSError:
                break
            if not part:
                break
            found += part
    os.close(ours)
    assert process.returncode == 0
    return found.decode()


def test_a_real_terminal_gets_the_table_and_a_pipe_markdown(
    tmp_path: Path, repository: Path
) -> None:
    seen = shown(tmp_path, repository, terminal=True)
    assert "\x1b[1;31mFAIL" in seen
    assert "| target" not in seen
    assert "[bold]R101[/bold]" in seen
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen).replace("\r\n", "\n")
    assert plain == printed(80)
    piped = shown(tmp_path, repository, terminal=False)
    assert piped == tables.as_markdown(comparison()) + "\n"
