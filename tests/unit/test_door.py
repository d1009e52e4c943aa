"""The two doors: make's values reach the program, and messages are in the language of the door."""

from __future__ import annotations

import re

import pytest
from cascadeport.base.errors import CascadeportError, ExitCode, StageError
from cascadeport.cli import main, parser
from cascadeport.cli.commands import NAMED
from cascadeport.cli.door import Door

MAKE = Door(is_make=True)


@pytest.mark.parametrize(
    ("said", "worded"),
    [
        ("--limit 3", "LIMIT=3"),
        ("--limit=3 is too few", "LIMIT=3 is too few"),
        ("--simulate", "SIMULATE=1"),
        (
            "without an NPU, --simulate runs the target",
            "without an NPU, SIMULATE=1 runs the target",
        ),
        ("Run again with --debug --keep-failed.", "Run again with DEBUG=1 KEEP_FAILED=1."),
        ("`cascadeport doctor --target X` shows", "`make doctor TARGET=X` shows"),
        ("`cascadeport all --model demo --target gpu`", "`make all MODEL=demo TARGET=gpu`"),
        ("Run a target first: `cascadeport all`.", "Run a target first: `make all`."),
        ("Leave --engine out, or use --engine docker.", "Leave ENGINE out, or use ENGINE=docker."),
        ("--limit must be at least 1, not 0.", "LIMIT must be at least 1, not 0."),
        ("--data takes a name, or a folder", "DATA takes a name, or a folder"),
        ("--target takes one of: cpu, T4", "TARGET takes one of: cpu, T4"),
        ("use --target 310P3", "use TARGET=310P3"),
        ("--targets '310 T4'.", "TARGETS='310 T4'."),
        ("--build /other/disk --results /a/b.", "BUILD=/other/disk RESULTS=/a/b."),
        ("--nms-levels within, --precision float16", "NMS_LEVELS=within, PRECISION=float16"),
        ("(--random-weights 7)", "(RANDOM_WEIGHTS=7)"),
        ("perhaps you meant '--limit'", "perhaps you meant 'LIMIT'"),
        # What is not ours stays as it is.
        ("docker run --network none", "docker run --network none"),
        ("atc --soc_version=Ascend310", "atc --soc_version=Ascend310"),
        ("pip install --target-dir x", "pip install --target-dir x"),
        ("a folder /x/--limit 3", "a folder /x/--limit 3"),
        ("cascadeport: internal error", "cascadeport: internal error"),
        ("LIMIT=3 and BINS=1", "LIMIT=3 and BINS=1"),
        ("", ""),
    ],
)
def test_messages_are_in_the_language_of_the_door(said: str, worded: str) -> None:
    assert MAKE.worded(said) == worded
    assert MAKE.worded(worded) == worded
    assert Door().worded(said) == said


def test_all_of_an_error_is_worded_and_its_code_stays() -> None:
    error = StageError(
        "--bins failed.", where="--limit 3", next="`cascadeport plan`", details=["--debug"]
    )
    said = MAKE.error(error)
    assert (said.what, said.where, said.next, said.details) == (
        "BINS=1 failed.",
        "LIMIT=3",
        "`make plan`",
        ["DEBUG=1"],
    )
    assert said.exit_code == ExitCode.STAGE
    assert error.what == "--bins failed."


# --- make's values


def entered(named: str = "", **values: str) -> Door:
    environ = {f"CASCADEPORT_{key}": value for key, value in values.items()}
    environ |= {"CASCADEPORT_DOOR": "make", "CASCADEPORT_GIVEN": named, "OTHER": "1"}
    door = Door.entered(environ)
    # Children must not take them for their own.
    assert environ == {"OTHER": "1"}
    return door


def test_values_of_make_are_data() -> None:
    hostile = "--debug\n'\"$(shell x)` ;"
    words = entered(MODEL=hostile, LIMIT="3", SIMULATE="1", BINS="0").words(NAMED["plan"])
    assert words == [f"--model={hostile}", "--limit=3", "--simulate"]
    parsed = parser.parse(["plan"], entered(MODEL=hostile, TARGET="310"))
    assert parsed is not None
    assert (parsed[1].options.model, parsed[1].options.target) == (hostile, "310")


def test_without_make_its_variables_mean_nothing() -> None:
    environ = {"CASCADEPORT_LIMIT": "3", "LIMIT": "3"}
    door = Door.entered(environ)
    assert door.words(NAMED["plan"]) == []
    assert environ == {"LIMIT": "3"}


@pytest.mark.parametrize(("text", "switched"), [("1", True), ("true", True), ("0", False)])
def test_a_flag_of_make_is_one_or_zero(text: str, switched: bool) -> None:
    assert entered(SIMULATE=text).words(NAMED["plan"]) == ["--simulate"] * switched


def test_a_flag_that_is_neither_is_refused() -> None:
    with pytest.raises(CascadeportError, match="SIMULATE=maybe is neither 1 nor 0"):
        entered(SIMULATE="maybe").words(NAMED["plan"])


def test_a_mistyped_variable_is_not_ignored() -> None:
    with pytest.raises(CascadeportError, match="no variable TARGT; perhaps you meant 'TARGET'"):
        entered(named="VENV TARGT").words(NAMED["all"])
    with pytest.raises(CascadeportError, match=re.escape("no variable XYZZY.")):
        entered(named="XYZZY").words(NAMED["all"])
    assert entered(named="VENV PYTHON WHEELS SHELL MAKEFLAGS").words(NAMED["all"]) == []


def test_a_variable_of_another_command_is_refused_on_makes_command_line_only() -> None:
    with pytest.raises(CascadeportError, match="`make wheels` does not take LIMIT"):
        entered(named="LIMIT", LIMIT="3").words(NAMED["wheels"])
    assert entered(LIMIT="3", TARGET="T4").words(NAMED["wheels"]) == ["--target=T4"]
    # An empty one is not given.
    assert entered(named="LIMIT", LIMIT="").words(NAMED["wheels"]) == []


# --- errors of the command line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plna"], "There is no command 'plna'; perhaps you meant 'plan'."),
        (["plan", "--limt", "3"], "`cascadeport plan` has no option --limt; perhaps you meant"),
        (["plan", "--limt=3"], "has no option --limt;"),
        (["plan", "--sim"], "has no option --sim; perhaps you meant '--simulate'."),
        (["pin", "--limit", "3"], "`cascadeport pin` has no option --limit"),
        (["plan", "here"], "takes no argument such as 'here'"),
        (["plan", "--limit"], "--limit needs a value."),
        (["plan", "--simulate=1"], "--simulate takes no value, and '1' is given."),
        (["--verson"], "`cascadeport` has no option --verson; perhaps you meant '--version'."),
        (["all", "--json"], "`cascadeport all` has no option --json"),
    ],
)
def test_mistakes_on_the_command_line(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == ExitCode.INPUT
    said = capsys.readouterr().err
    assert said.startswith("cascadeport: ")
    assert told in said
    assert "Traceback" not in said
    assert "usage:" not in said


@pytest.mark.parametrize(
    "words", [["--debug", "plan", "--limit", "0"], ["plan", "--debug", "--limit", "0"]]
)
def test_debug_works_before_and_after_the_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(words) == ExitCode.INPUT
    said = capsys.readouterr().err
    assert said.startswith("Traceback")
    assert said.rstrip().endswith("Give 1 or more.")
    parsed = parser.parse([word for word in words if word not in ("--limit", "0")], Door())
    assert parsed is not None
    assert parsed[1].request.debug


def test_debug_of_make(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"DOOR": "make", "DEBUG": "1", "LIMIT": "0"}.items():
        monkeypatch.setenv(f"CASCADEPORT_{name}", value)
    assert main.main(["plan"]) == ExitCode.INPUT
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "cascadeport: LIMIT must be at least 1, not 0." in said


def test_without_a_command_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == ExitCode.OK
    said = capsys.readouterr().out
    for command in NAMED:
        assert re.search(rf"^    {command}\b", said, re.MULTILINE)


@pytest.mark.parametrize("words", [["--help"], ["plan", "--help"], ["--version"]])
def test_help_and_version(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(words) == ExitCode.OK
    said = capsys.readouterr().out
    assert said.startswith("usage: cascadeport") or re.fullmatch(r"cascadeport \d\S+\n", said)


def test_wheels_of_one_target_and_of_all(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    downloaded: list[str] = []
    monkeypatch.setattr(
        "cascadeport.containers.wheels.download",
        lambda name, folder, machine: downloaded.append(name),
    )
    assert main.main(["wheels", "--target", "cpu"]) == ExitCode.OK
    assert downloaded == ["cpu"]
    downloaded.clear()
    assert main.main(["wheels"]) == ExitCode.OK
    assert {"cpu", "t4"} < set(downloaded)
    assert len(downloaded) == len(set(downloaded))
    assert main.main(["wheels", "--target", "T5"]) == ExitCode.INPUT
    assert "no target named 'T5'" in capsys.readouterr().err


def test_pin_is_a_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert main.main(["pin"]) == ExitCode.INPUT
    assert "unix:///nowhere/docker.sock" in capsys.readouterr().err
