"""Words into options. What cannot be read is an error like any other, with the nearest name."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from cascadeport import __version__
from cascadeport.base.errors import CascadeportError, ExitCode
from cascadeport.base.suggest import suggest
from cascadeport.cli.command import Call, Command
from cascadeport.cli.commands import COMMANDS, NAMED
from cascadeport.cli.door import Door, WordedReporter
from cascadeport.config.options import Option, table

# Where argparse keeps a word that stands for an option, before the option's field.
_WORD = "word:"
_LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
_NO_VALUE = re.compile(r"argument (--[\w-]+)(?:/\S+)?: expected one argument")
_VALUE_OF_FLAG = re.compile(r"argument (--[\w-]+)(?:/\S+)?: ignored explicit argument (.*)")


class _Parser(argparse.ArgumentParser):
    """Raises what argparse would print before it exits."""

    def error(self, message: str) -> NoReturn:
        if match := _NO_VALUE.match(message):
            raise CascadeportError(
                f"{match[1]} needs a value.", next=f"`{self.prog} --help` says which."
            )
        if match := _VALUE_OF_FLAG.match(message):
            raise CascadeportError(f"{match[1]} takes no value, and {match[2]} is given.")
        raise CascadeportError(
            f"The command line cannot be read: {message}.", next=f"See `{self.prog} --help`."
        )


def command_of(words: Sequence[str]) -> Command | None:
    """The command that words begin with; None if they do not begin with one.

    Raises:
        CascadeportError: It is not one that there is.
    """
    name = next((word for word in words if not word.startswith("-")), None)
    if name is None:
        return None
    if name not in NAMED:
        raise CascadeportError(
            f"There is no command '{name}'; {suggest(name, NAMED)}.",
            next="`cascadeport --help` lists the commands.",
        )
    return NAMED[name]


def parse(words: Sequence[str], door: Door) -> tuple[Command, Call] | None:
    """Reads a command line.

    Args:
        words: Its words, without the program's name.
        door: Where values may come from as well.

    Returns:
        The command and what it is called with; None: there is no command.

    Raises:
        CascadeportError: It cannot be read.
        SystemExit: Help or version was requested, and printed.
    """
    command = command_of(words)
    if command is None:
        _check_known(words, top().parse_known_args(words)[1], ("--help", "--version", "--debug"))
        return None
    takes = command.options
    # What was typed goes last: the last one counts.
    given, extra = top().parse_known_args(_with(words, command.name, door.words(command)))
    _check_known(words, extra, [each.flag for each in takes], command)
    found = {key: value for key, value in vars(given).items() if key != "command"}
    values = {key: value for key, value in found.items() if not key.startswith(_WORD)}
    for field in command.words:
        # The command line's word counts more than make's variable.
        if found.get(_WORD + field) is not None:
            values[field] = found[_WORD + field]
    options, request = table.read(values)
    call = Call(options, request, frozenset(values), door.worded, WordedReporter(door))
    return command, call


def _with(words: Sequence[str], name: str, more: Sequence[str]) -> list[str]:
    position = list(words).index(name) + 1
    return [*words[:position], *more, *words[position:]]


def _check_known(
    words: Sequence[str], extra: Sequence[str], flags: Sequence[str], command: Command | None = None
) -> None:
    if not extra:
        return
    call = f"cascadeport {command.name}" if command else "cascadeport"
    word = extra[0].split("=", 1)[0]
    if word.startswith("-"):
        raise CascadeportError(
            f"`{call}` has no option {word}; {suggest(word, flags)}.",
            where=" ".join(words),
            next=f"`{call} --help` lists its options.",
        )
    raise CascadeportError(
        f"`{call}` takes no argument such as '{word}'.",
        where=" ".join(words),
        next="Values belong to options, e.g. --target cpu.",
    )


def top() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="cascadeport",
        description="One detector, several accelerators, the same code in each, one honest table.",
        epilog="Exit codes: " + "; ".join(f"{code:d} {_plain(code.meaning)}" for code in ExitCode),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"cascadeport {__version__}")
    debug = next(each for each in table.ALL if each.field == "debug")
    _add(parser, debug)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for command in COMMANDS:
        meaning = _plain(command.meaning)
        sub = commands.add_parser(
            command.name, help=meaning, description=f"{meaning}.", allow_abbrev=False
        )
        for option in command.options:
            _add(sub, option)
        for option in (each for each in command.options if each.field in command.words):
            where = _WORD + option.field
            name = option.variable if len(command.words) > 1 else option.metavar
            sub.add_argument(where, nargs="?", type=option.value, metavar=name)
    return parser


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    # Nothing has a default here, so that only what was given is set.
    known: dict[str, Any] = {"dest": option.field, "default": argparse.SUPPRESS}
    known["help"] = _plain(option.meaning).replace("%", "%%")
    if option.is_flag:
        parser.add_argument(option.flag, action="store_true", **known)
        return
    metavar = "|".join(option.choices) or option.metavar
    parser.add_argument(option.flag, type=option.value, metavar=metavar, **known)


def _plain(markdown: str) -> str:
    """Text for a terminal: without backticks and links."""
    return _LINK.sub(r"docs/\1", markdown).replace("`", "")
