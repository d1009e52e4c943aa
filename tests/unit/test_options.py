"""Options and environment variables are declared once; everything else is made from the table."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from cascadeport import backends
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.cli import document, parser
from cascadeport.cli.commands import COMMANDS, NAMED
from cascadeport.cli.door import Door
from cascadeport.config.options import Options, Request, environment, of
from cascadeport.config.options.declare import option
from cascadeport.config.options.table import ALL, words

from tests.helpers.contexts import context

# Set by containers or recipes for their own commands, not by whoever starts them.
_INSIDE_IMAGES = {
    *(
        "CANN_CHIP",
        "CANN_VERSION",
        "CANN_FROM",
        "ASCEND_IMAGE",
        "ACLRUNTIME",
        "ASCEND_TOOLKIT_HOME",
    ),
    *("BUILD_IMAGE", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME", "CANN_PATH"),
    *("DOCKER_BUILDKIT", "PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_BUILD_ISOLATION", "PWD"),
    "CASCADEPORT_API_KEY",
}
# Of the system or of Python; they have no meaning of their own here.
_OF_THE_SYSTEM = {"PATH", "PYTHONUTF8", "PYENV_ROOT", "TMPDIR"}


@pytest.mark.parametrize("path", document.files(COMMANDS), ids=lambda path: path.name)
def test_what_is_committed_is_what_is_generated(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == document.files(COMMANDS)[path], "run `make docs`"


def test_a_new_entry_of_the_table_is_all_that_the_generators_need() -> None:
    """The parser, make's variable and the documentation take an option that they never saw."""

    @dataclasses.dataclass(frozen=True)
    class More:
        sharpness: int | None = option("how sharp", "N", minimum=1)

    (made,) = of(More)
    assert (made.flag, made.variable, made.carrier) == (
        "--sharpness",
        "SHARPNESS",
        "CASCADEPORT_SHARPNESS",
    )
    assert made.value("3") == 3
    assert document._option(made) == ("`--sharpness N`", "`SHARPNESS=`", "how sharp")


def test_every_option_is_documented_and_has_a_variable() -> None:
    page, make = document.page(COMMANDS), document.make()
    for each in ALL:
        assert f"| `{each.usage}` | `{each.variable}=" in page
        assert re.search(rf"\b{each.variable}\b", make)
    for code in ExitCode:
        assert f"| {code:d} | {code.meaning} |" in page


def test_every_option_is_some_commands_and_names_are_unique() -> None:
    taken = {each.field for command in COMMANDS for each in command.options}
    assert taken == {each.field for each in ALL}
    assert len({each.field for each in ALL}) == len(ALL)
    variables = [each.name for each in environment.VARIABLES]
    assert len(set(variables)) == len(variables)
    own = {each.variable for each in ALL}
    # The same name means two things only where somebody runs `docker compose` by hand.
    assert own & set(variables) == {
        each.name for each in environment.VARIABLES if each.by_hand and each.name in own
    }


def test_the_makefile_has_every_command_as_a_target(repository: Path) -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (repository / "Makefile").read_text(), re.MULTILINE)
    assert set(NAMED) <= set(targets)


def test_options_become_words_and_words_options() -> None:
    options = Options(
        target="310P3",
        model='a b"$(c)',
        data="--debug",
        random_weights=0,
        keep_going=True,
        nms_levels="within",
        checkpoint=Path("/c d.pth"),
        build=Path("/b:c"),
        results=Path("/r"),
    )
    parsed = parser.parse(["all", *words(options)], Door())
    assert parsed is not None
    assert parsed[1].options == options
    assert words(Options()) == []


@pytest.mark.parametrize(
    ("flag", "text", "told"),
    [
        ("--limit", "0", "--limit must be at least 1, not 0"),
        ("--limit", "-1", "--limit must be at least 1, not -1"),
        ("--limit", "1_000", "must be a whole number, not '1_000'"),
        ("--limit", " 3", "whole number"),
        ("--limit", "٣", "whole number"),
        ("--limit", "9" * 30, "whole number"),
        ("--limit", "3.0", "whole number"),
        ("--random-weights", "-1", "must be at least 0"),
        ("--threads", "0", "--threads must be at least 1"),
        ("--repeats", "0", "--repeats must be at least 1"),
        ("--proposals", "0", "--proposals must be at least 1"),
        ("--engine", "dokcer", "perhaps you meant 'docker'"),
        ("--engine", "x", "available: docker, local"),
        ("--model", "", "--model has an empty value"),
        ("--build", "", "--build has an empty value"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused(flag: str, text: str, told: str) -> None:
    with pytest.raises(CascadeportError, match=re.escape(told)) as caught:
        parser.parse(["plan", f"{flag}={text}"], Door())
    assert caught.value.exit_code == ExitCode.INPUT
    assert caught.value.next


def test_folders_are_absolute_and_know_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    parsed = parser.parse(["plan", "--build", "~/b", "--results", "r"], Door())
    assert parsed is not None
    assert parsed[1].options.build == Path("/home/me/b")
    assert parsed[1].options.results == Path.cwd() / "r"


@pytest.mark.parametrize("option", ["simulate", "bins"])
def test_options_of_some_backends_name_their_targets(option: str) -> None:
    with pytest.raises(CascadeportError) as caught:
        context("cpu", environ={}, **{option: True})
    assert caught.value.what == f"--{option} supports only the targets 310 and 310P3, not cpu."
    assert "`--target 310P3`" in caught.value.next
    door = Door(is_make=True)
    assert door.worded(caught.value.what).startswith(f"{option.upper()}=1 supports only")
    assert context("310P3", environ={}, **{option: True}).name == "310P3"


def test_what_backends_support_are_options() -> None:
    fields = {each.field for each in of(Options)}
    for backend in backends.every():
        assert backend.supported <= fields
    assert not {each.field for each in of(Request)} & fields


# --- the environment


def _used(repository: Path) -> dict[str, set[str]]:
    """The environment variables that sources name, and where."""
    patterns = {
        "compose/*.yaml": (r"\$\{(\w+)", r"^ {8}([A-Z_]+):\s*$"),
        "images/*/Dockerfile": (r"^ARG ([A-Z_0-9]+)",),
        "images/export/build-env": (r"\$\{([A-Z]\w+)",),
        "images/ascend/*": (r"\$\{([A-Z]\w+)",),
        "scripts/make-*": (r"\$\{([A-Z]\w+)",),
        "Makefile": (r"\$\$([A-Z]\w+)", r"^([A-Z]\w+) \?="),
        **dict.fromkeys(
            ("scripts/**/*.py", "tests/conftest.py", "benchmarks/*.py", "bundle/**/*.py"),
            (
                r"""(?:environ|variables|self\._environ)(?:\.get\(|\.pop\(|\[)"([A-Z_0-9]+)\"""",
                r"getenv\(\"([A-Z_0-9]+)\"",
                r"\"([A-Z_0-9]+)\" in environ",
            ),
        ),
    }
    found: dict[str, set[str]] = {}
    for glob, expressions in patterns.items():
        files = [path for path in repository.glob(glob) if path.is_file()]
        assert files, glob
        for path in files:
            text = path.read_text(encoding="utf-8", errors="replace")
            for expression in expressions:
                for name in re.findall(expression, text, re.MULTILINE):
                    found.setdefault(name, set()).add(str(path.relative_to(repository)))
    return found


def test_every_variable_that_is_read_is_declared(repository: Path) -> None:
    declared = {each.name for each in environment.VARIABLES}
    used = _used(repository)
    assert {"MEMORY", "WHEELS", "PYTHON37", "DOCKER_HOST", "CASCADEPORT_NO_SKIPS"} <= set(used)
    undeclared = {
        name: where
        for name, where in used.items()
        if name not in declared | _INSIDE_IMAGES | _OF_THE_SYSTEM
    }
    assert undeclared == {}


def test_every_declared_variable_is_read_somewhere(repository: Path) -> None:
    sources = [
        path
        for glob in ("scripts/cascadeport/**/*.py", "compose/*", "images/**/*", "tests/conftest.py")
        for path in repository.glob(glob)
        if path.is_file() and "config/options/" not in path.as_posix()
    ]
    sources += [repository / "Makefile", *repository.glob("benchmarks/*.py")]
    text = "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sources)
    for each in environment.VARIABLES:
        assert re.search(rf"\b{each.name}\b", text), each.name


def test_only_declared_variables_reach_a_command() -> None:
    given = {
        "MODEL": "/etc:/opt/host:rw",
        "DATA": "/",
        "OUT": "/",
        "DEBUG": "*",
        "LD_PRELOAD": "x",
        "MEMORY": "4g",
        "GPU": "",
        "PATH": "/bin",
    }
    assert environment.read(given) == {"MEMORY": "4g", "PATH": "/bin"}


def test_a_model_in_somebodys_shell_is_no_mount() -> None:
    """`${MODEL}` in a compose file is for those who run docker compose by hand."""
    opened = context("cpu", engine="docker", environ={"MODEL": "/etc:/opt/host:rw", "MEMORY": "4g"})
    service = opened.engine.service("infer")
    assert service is not None
    assert not any("/etc" in volume or "/opt/host" in volume for volume in service.volumes)
    assert service.mem_limit == "4g"
    assert "MODEL" not in opened.variables


@pytest.mark.parametrize("user", ["0:0", "0", "00:5", "0:1000", "root", "root:root", "1000", ":"])
def test_containers_never_run_as_root(user: str) -> None:
    with pytest.raises(CascadeportError, match=r"never run as root|a user's and a group's number"):
        context("cpu", engine="docker", environ={"CASCADEPORT_USER": user})


def test_an_ordinary_user_is_taken() -> None:
    opened = context("cpu", engine="docker", environ={"CASCADEPORT_USER": "1234:0"})
    service = opened.engine.service("infer")
    assert service is not None
    assert service.user == "1234:0"
