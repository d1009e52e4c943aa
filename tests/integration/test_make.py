"""The real make: what users write into its variables is data, for make, for the shell and after."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import small_world

# What of a checkout a plan reads.
PARTS = (
    "Makefile",
    "requirements.lock",
    "targets.toml",
    "scripts",
    "bundle",
    "models",
    "compose",
    "images",
)
# Not inherited from a make that runs these tests, nor from the one who runs it.
NOT_INHERITED = ("MAKE", "MFLAGS", "CASCADEPORT_", "PYTHONPATH", "TARGET", "LIMIT", "WHEELS")


@dataclass
class Checkout:
    """A checkout, and an environment of which make believes that it is up to date."""

    root: Path
    venv: Path
    canary: Path

    def make(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs make in it."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(NOT_INHERITED)}
        done = subprocess.run(
            ["make", "--no-print-directory", *words, f"VENV={self.venv}"],
            cwd=self.root,
            env={**inherited, **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert not self.canary.exists(), "a value was run as a command"
        return done

    def seen(self, *words: str, **env: str) -> dict[str, str]:
        """The environment that the program gets, where its Python is a spy."""
        done = self.make("plan", *words, **env)
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found

    def results(self, *words: str, **env: str) -> str:
        """Where the plan that make prints has its results."""
        done = self.make("plan", "JSON=1", *words, **env)
        assert done.returncode == 0, done.stderr
        return str(json.loads(done.stdout)["results"])


def stub(folder: Path, program: str) -> Path:
    """A virtual environment for the Makefile whose Python is a program."""
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(program)
    python.chmod(0o755)
    for name in ("bin/cascadeport", "ready", "ready-dev"):
        (folder / name).touch()
    return folder


THIS_PYTHON = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
SPY = f"#!{sys.executable} -S\nimport json, os\nprint(json.dumps(dict(os.environ)))\n"


@pytest.fixture
def checkout(tmp_path: Path, repository: Path) -> Checkout:
    """This checkout; the program is run by this Python."""
    return Checkout(repository, stub(tmp_path / "venv", THIS_PYTHON), tmp_path / "canary")


@pytest.fixture
def spied(tmp_path: Path, repository: Path) -> Checkout:
    """This checkout; instead of the program, a spy prints what it got."""
    return Checkout(repository, stub(tmp_path / "venv", SPY), tmp_path / "canary")


def hostile(canary: Path) -> dict[str, str]:
    """Values that a shell or make would run if they saw them."""
    return {
        "quotes": f'x"; touch {canary}; "',
        "single quotes": f"x'; touch {canary}; '",
        "make's shell": f"$(shell touch {canary})",
        "a substitution": f"$(touch {canary})",
        "a doubled dollar": f"$$(touch {canary}) $$$$",
        "backticks": f"`touch {canary}`",
        "lines of its own": f"x\n\ttouch {canary}\nall: ; touch {canary}\n",
        "a comment": f"x # ; touch {canary}",
        "an assignment": f"x:=$(shell touch {canary})",
        "an eval": f"$(eval $(shell touch {canary}))",
        "a backslash": "x\\",
        "spaces": "two  words  ",
        "an option": "--debug",
    }


KINDS = tuple(hostile(Path("x")))
# Options, variables that keep their names, and the Makefile's own.
NAMES = ("TARGET", "MODEL", "LIMIT", "TARGETS", "DEBUG", "WHEELS", "CASCADEPORT_USER", "PYTHON")


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_is_data(spied: Checkout, kind: str) -> None:
    """It reaches the program to the letter, whether before make or after it."""
    value = hostile(spied.canary)[kind]
    values = dict.fromkeys(NAMES, value)
    for seen in (spied.seen(**values), spied.seen(*(f"{name}={value}" for name in NAMES))):
        for name in NAMES:
            kept = name in ("WHEELS", "CASCADEPORT_USER", "PYTHON")
            assert seen[name if kept else f"CASCADEPORT_{name}"] == value, name
            assert kept or name not in seen


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_makefile_does_not_know_is_not_looked_at(spied: Checkout, kind: str) -> None:
    value = hostile(spied.canary)[kind]
    seen = spied.seen(f"NOBODYS={value}", CASCADEPORT_MODEL=value, CASCADEPORT_GIVEN=value)
    assert seen["CASCADEPORT_MODEL"] == ""
    assert seen["CASCADEPORT_GIVEN"] == "NOBODYS"
    assert "NOBODYS" not in seen
    # The carriers are no way around.
    assert spied.seen(f"CASCADEPORT_MODEL={value}", "-e")["CASCADEPORT_MODEL"] == ""


def test_the_program_says_what_is_wrong_with_a_value(checkout: Checkout) -> None:
    value = hostile(checkout.canary)["make's shell"]
    done = checkout.make("plan", f"TARGET={value}")
    assert done.returncode == 2
    assert f"There is no target named '{value}'" in done.stderr
    done = checkout.make("plan", LIMIT=f"`touch {checkout.canary}`")
    assert f"LIMIT must be a whole number, not '`touch {checkout.canary}`'." in done.stderr
    done = checkout.make("plan", f'MODEL=x"; touch {checkout.canary}; "')
    assert done.returncode == 2


def test_both_ways_of_giving_a_value_work(checkout: Checkout) -> None:
    for results in (checkout.results("LIMIT=2"), checkout.results(LIMIT="2")):
        assert results.endswith("demo-demo-first2/cpu")
    # Make's own rule: its command line goes before the environment.
    assert checkout.results("LIMIT=2", LIMIT="3").endswith("demo-demo-first2/cpu")
    assert checkout.results("LIMIT=").endswith("demo-demo/cpu")


FOLDERS = ('it\'s "quoted"', "a$b$(c)", "two  words", "a:b", "ü", "#1", "%d", "back\\slash", "~x")


def test_folders_have_any_name(checkout: Checkout, tmp_path: Path) -> None:
    """All of them at once: every folder has another name."""
    root = tmp_path.joinpath(*FOLDERS)
    (root / "data").mkdir(parents=True)
    small_world.card(root)
    small_world.dataset(root / "data")
    given = {
        "MODEL": f"{root}/small.toml",
        "DATA": f"{root}/data",
        "BUILD": f"{root}/build",
        "RESULTS": f"{root}/results",
    }
    expected = str(root / "results" / "small-data" / "cpu")
    assert checkout.results(*(f"{key}={value}" for key, value in given.items())) == expected
    assert checkout.results(**given) == expected
    done = checkout.make("all", "REPEATS=1", **given)
    assert done.returncode == 0, done.stderr
    assert "| measured |" in done.stdout


def test_variables_of_a_shell_do_not_leak_into_the_program(spied: Checkout) -> None:
    seen = spied.seen("DATA=d", MODEL="/etc:/opt/host:rw", DEBUG="*", MEMORY="4g", OUT="/")
    assert not {"MODEL", "DATA", "DEBUG"} & set(seen)
    assert seen["CASCADEPORT_MODEL"] == "/etc:/opt/host:rw"
    assert seen["CASCADEPORT_DATA"] == "d"
    assert seen["CASCADEPORT_GIVEN"] == "DATA"
    assert seen["MEMORY"] == "4g"
    assert "WHEELS" not in seen


def test_messages_are_in_makes_language(checkout: Checkout) -> None:
    assert "cascadeport: LIMIT must be at least 1" in checkout.make("plan", "LIMIT=0").stderr
    done = checkout.make("plan", "SIMULATE=1")
    assert "SIMULATE=1 supports only the targets 310 and 310P3, not cpu." in done.stderr
    assert "`TARGET=310P3`" in done.stderr
    assert "--" not in done.stderr
    assert "perhaps you meant 'TARGET'" in checkout.make("plan", "TARGT=T4").stderr


def test_tests_take_words_without_a_shell(spied: Checkout) -> None:
    words = f"-k 'a or b' $(touch {spied.canary}) `touch {spied.canary}`; touch {spied.canary}"
    done = spied.make("test", f"TESTS={words}")
    assert json.loads(done.stdout)["PYTEST_ADDOPTS"] == words


# --- where the checkout is


@pytest.fixture
def elsewhere(tmp_path: Path, repository: Path) -> Checkout:
    """A checkout in a folder whose name make, shells and PYTHONPATH all trip over."""
    root = tmp_path / "a b:c'd$e"
    for part in PARTS:
        source = repository / part
        skipped = shutil.ignore_patterns("__pycache__", ".venv*")
        if source.is_dir():
            shutil.copytree(source, root / part, ignore=skipped)
        else:
            root.mkdir(exist_ok=True)
            shutil.copy2(source, root / part)
    return Checkout(root, stub(tmp_path / "venv", THIS_PYTHON), tmp_path / "canary")


def test_the_checkout_is_in_a_folder_of_any_name(elsewhere: Checkout) -> None:
    assert elsewhere.results() == f"{elsewhere.root}/results/demo-demo/cpu"


def test_children_find_the_bundle_in_a_folder_of_any_name(elsewhere: Checkout) -> None:
    """A whole run, and one of several targets, whose runs are children."""
    folder = elsewhere.root.parent / "world"
    folder.mkdir()
    small_world.card(folder)
    small_world.dataset(folder / "data")
    given = (f"MODEL={folder}/small.toml", f"DATA={folder}/data", "REPEATS=1", "LIMIT=1")
    done = elsewhere.make("all", "TARGETS=cpu", *given)
    assert done.returncode == 0, done.stderr
    assert "| measured |" in done.stdout
    result = elsewhere.root / "results" / "small-data-first1" / "cpu" / "result.json"
    assert json.loads(result.read_text())["status"] == "measured"


def test_the_command_of_a_copied_checkout_runs_the_copy(
    elsewhere: Checkout, tmp_path: Path
) -> None:
    root = elsewhere.root
    make_venv(root, tmp_path)
    # Again, as when scripts/make-venv has changed.
    make_venv(root, tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy, symlinks=True)
    link = tmp_path / "link"
    link.symlink_to(copy / ".venv" / "bin" / "cascadeport")
    for command, expected in (
        (root / ".venv/bin/cascadeport", root),
        (copy / ".venv/bin/cascadeport", copy),
        (link, copy),
    ):
        done = subprocess.run(
            [str(command), "plan"], cwd="/", capture_output=True, text=True, check=False
        )
        assert f"results  {expected}/results/" in done.stdout, done.stderr


def make_venv(root: Path, folder: Path) -> None:
    """Runs scripts/make-venv in a checkout."""
    made = subprocess.run(
        ["sh", "scripts/make-venv", str(fake_python(folder)), ".venv"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def test_make_venv_removes_nothing_that_is_not_its_own(elsewhere: Checkout, tmp_path: Path) -> None:
    kept = elsewhere.root / ".venv" / "thesis.txt"
    kept.parent.mkdir()
    kept.touch()
    with pytest.raises(AssertionError, match="is not empty, and no virtual environment"):
        make_venv(elsewhere.root, tmp_path)
    assert kept.exists()


def fake_python(folder: Path) -> Path:
    """A Python whose `-m venv` makes an environment that is this very Python."""
    path = folder / "python-for-venv"
    path.write_text(
        "#!/bin/sh\n"
        'if [ "$1 $2" = "-m venv" ]; then\n'
        '    mkdir -p "$3/bin"\n'
        f'    printf \'#!/bin/sh\\nexec "{sys.executable}" "$@"\\n\' > "$3/bin/python"\n'
        '    chmod +x "$3/bin/python"; touch "$3/pyvenv.cfg"\n'
        "else\n"
        f'    exec "{sys.executable}" "$@"\n'
        "fi\n"
    )
    path.chmod(0o755)
    return path
