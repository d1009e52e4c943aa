"""Writes what is generated: docs/command-line.md, the Makefile's variables, the JSON schemas."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from cascadeport.base.errors import ExitCode
from cascadeport.base.files import write_text
from cascadeport.base.paths import REPOSITORY
from cascadeport.cli import schemas
from cascadeport.cli.command import Command
from cascadeport.config.options import Option
from cascadeport.config.options.environment import VARIABLES
from cascadeport.config.options.table import ALL

PAGE = REPOSITORY / "docs" / "command-line.md"
MAKE = REPOSITORY / "scripts" / "options.mk"
_WIDTH = 100

_PAGE = """\
<!-- Written by `make docs`; do not edit. -->
# The command line

There are two ways in. `make` needs nothing but Python: it creates `.venv` and calls the other one,
`.venv/bin/cascadeport`. Every option has a variable, which may come before `make` or after it:

```
make all TARGET=310P3 LIMIT=20
LIMIT=20 make all TARGET=310P3
.venv/bin/cascadeport all --target 310P3 --limit 20
```

Values are data: quotes, dollars, spaces and colons in a folder's name reach the program unchanged.
Messages use the notation of the way you came in: `LIMIT=3` from make, `--limit 3` otherwise.

## Commands

{commands}

`cascadeport COMMAND --help` lists a command's options, `cascadeport --version` says the version,
`make help` lists the other targets of the Makefile.

## Options

{options}

`--dry-run` belongs to `all`, `--targets` to `all` and `tune`, `--budget` to `tune`, `--against`,
`--expected` and `--export` to `compare`, `--json` to `plan`, `doctor`, `explain`, `tune` and
`history`; `--debug` works with every command, before or after its name. In make a flag is 1 or 0.

## Environment variables

These are read either way, and no others: a `MODEL` or `DEBUG` in your shell means nothing to
`cascadeport`. On make's command line they can come after `make` as well.

{variables}

## Exit codes

{codes}

`make` itself ends with 2 whatever the command's code was; scripts that want the code call
`.venv/bin/cascadeport`.

## Output

On a terminal there are progress bars with rate and time left; elsewhere there are plain lines.
They go to standard error. Characters that the terminal's encoding lacks are written as escapes.

The comparison goes to standard output: on a terminal as a table of as many columns as fit, with the
others below each row, in a pipe as Markdown. Both have the same numbers, and neither has columns
that are empty in every row.
"""

_MAKE = """\
# Written by `make docs` from scripts/cascadeport/config/options; do not edit.

# The options of the command line.
{options}

# Environment variables that are read.
{variables}
"""


def files(commands: Iterable[Command]) -> dict[Path, str]:
    """Everything that is generated, by path."""
    return {PAGE: page(commands), MAKE: make(), **schemas.files()}


def write(commands: Iterable[Command]) -> None:
    """Writes everything that is generated."""
    for path, text in files(commands).items():
        write_text(path, text)
        print(path.relative_to(REPOSITORY))


def page(commands: Iterable[Command]) -> str:
    """docs/command-line.md."""
    return _PAGE.format(
        commands=_table(("command", "meaning"), map(_command, commands)),
        options=_table(("option", "make", "meaning"), map(_option, ALL)),
        variables=_table(
            ("variable", "meaning", "read by"),
            ((f"`{each.name}`", each.meaning, each.reader) for each in VARIABLES),
        ),
        codes=_table(("code", "meaning"), ((f"{code:d}", code.meaning) for code in ExitCode)),
    )


def make() -> str:
    """scripts/options.mk."""
    own = {each.variable for each in ALL}
    others = [each.name for each in VARIABLES if not each.by_hand and each.name not in own]
    return _MAKE.format(
        options=_assignment("OPTIONS", [each.variable for each in ALL]),
        variables=_assignment("VARIABLES", others),
    )


def _command(command: Command) -> tuple[str, str]:
    return f"`{command.name}`", command.meaning


def _option(option: Option) -> tuple[str, str, str]:
    value = "1" if option.is_flag else ""
    meaning = option.meaning
    if option.choices:
        meaning = " or ".join(f"`{choice}`" for choice in option.choices) + f": {meaning}"
    return f"`{option.usage}`", f"`{option.variable}={value}`", meaning


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _assignment(name: str, words: Sequence[str]) -> str:
    """A list in make's language, in lines that are not too long."""
    lines = [f"override {name} :="]
    for word in words:
        if len(lines[-1]) + len(word) + 3 > _WIDTH:
            lines[-1] += " \\"
            lines.append(" ")
        lines[-1] += f" {word}"
    return "\n".join(lines)
