"""The door that the user came in by: the command line itself, or make.

Messages are written in the command line's language. Whoever came in by make reads them in make's:
`--limit 3` is `LIMIT=3` there, `--simulate` is `SIMULATE=1`, `cascadeport doctor` is `make doctor`.

Make hands over values as environment variables (`CASCADEPORT_LIMIT`), so that no shell and no make
function ever sees what is in them.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from cascadeport.base.errors import CascadeportError
from cascadeport.base.progress import Reporter
from cascadeport.base.suggest import suggest
from cascadeport.cli.command import Command
from cascadeport.cli.commands import NAMED
from cascadeport.config.options import Option
from cascadeport.config.options.environment import VARIABLES
from cascadeport.config.options.table import ALL

DOOR = "CASCADEPORT_DOOR"
"""Set to `make` by the Makefile."""
GIVEN = "CASCADEPORT_GIVEN"
"""The variables on make's command line, by name."""

_FLAGS = {each.flag: each for each in ALL}
# What make itself may be given, and its own bookkeeping.
_OF_MAKE = re.compile(r"SHELL|MAKE.*|-\*-.*|\.SHELL.*")
_QUOTED = r"'[^']*'|\"[^\"]*\""
_OPTION = re.compile(rf"(?<![\w/=-])(--[a-z][a-z-]*)(?:(=| (?!--))({_QUOTED}|[^\s`,;)]+))?")
_COMMAND = re.compile(rf"\bcascadeport ({'|'.join(NAMED)})\b")
# In a sentence: `--limit 3`, but not `leave --limit out`. In backticks every next word is a value.
_WORD = re.compile(r"[a-z][a-z-]*[.:]?")


@dataclass(frozen=True)
class Door:
    """How the user came in.

    Args:
        is_make: By make.
        values: What make's variables say, by the options' fields.
        named: The variables that were on make's command line, not in the environment.
    """

    is_make: bool = False
    values: Mapping[str, str] | None = None
    named: tuple[str, ...] = ()

    @classmethod
    def entered(cls, environ: MutableMapping[str, str]) -> Door:
        """Reads how the user came in, and removes it from what children inherit."""
        is_make = environ.pop(DOOR, "") == "make"
        named = environ.pop(GIVEN, "").split()
        found = {each.field: environ.pop(each.carrier, "") for each in ALL}
        if not is_make:
            return cls()
        return cls(True, {key: value for key, value in found.items() if value}, tuple(named))

    @property
    def debug(self) -> bool:
        """Whether make was asked for tracebacks."""
        return (self.values or {}).get("debug", "0") != "0"

    def words(self, command: Command) -> list[str]:
        """The words of a command line that say what make's variables do.

        Variables of other commands are ignored when they come from the environment, and refused on
        make's command line.

        Raises:
            CascadeportError: A variable is not known, is not the command's, or has a value that
                cannot be used.
        """
        values = self.values or {}
        self._check_names(command)
        words = []
        for each in command.options:
            text = values.get(each.field, "")
            if not text:
                continue
            if not each.is_flag:
                words.append(f"{each.flag}={text}")
            elif each.switch(text):
                words.append(each.flag)
        return words

    def _check_names(self, command: Command) -> None:
        own = {each.variable for each in command.options}
        known = {each.variable for each in ALL}
        known |= {each.name for each in VARIABLES if not each.by_hand}
        foreign = {each.variable for each in ALL} - own
        for name in self.named:
            if name in foreign and name.lower() in (self.values or {}):
                raise CascadeportError(
                    f"`make {command.name}` does not take {name}.",
                    next="It takes " + ", ".join(sorted(own)) + ".",
                )
            if name not in known and not _OF_MAKE.fullmatch(name):
                near = suggest(name, known)
                hint = f"; {near}" if near.startswith("perhaps") else ""
                raise CascadeportError(
                    f"The Makefile has no variable {name}{hint}.",
                    next="docs/command-line.md lists them. Variables of other programs go before "
                    f"make: {name}=… make {command.name}",
                )

    def worded(self, text: str) -> str:
        """A message in the language of the door."""
        if not self.is_make:
            return text
        pieces, end = [], 0
        for match in _OPTION.finditer(text):
            option = _FLAGS.get(match[1])
            if option is None:
                continue
            pieces.append(text[end : match.start()])
            quoted = text.count("`", 0, match.start()) % 2 == 1
            said, taken = _said(option, match, quoted)
            pieces.append(said)
            end = match.end() if taken else match.end(1)
        return _COMMAND.sub(r"make \1", "".join([*pieces, text[end:]]))

    def error(self, error: CascadeportError) -> CascadeportError:
        """An error in the language of the door; its exit code stays."""
        said = copy.copy(error)
        said.what, said.where = self.worded(error.what), self.worded(error.where)
        said.next = self.worded(error.next)
        said.details = [self.worded(detail) for detail in error.details]
        return said


def _said(option: Option, match: re.Match[str], quoted: bool) -> tuple[str, bool]:
    """An option in make's language, and whether the next word was its value."""
    joint, value = match[2], match[3]
    if option.is_flag:
        return f"{option.variable}=1", False
    if value is None:
        return option.variable, False
    is_value = joint == "=" or quoted or not _WORD.fullmatch(value)
    if is_value or value.rstrip(".:") in (*option.choices, str(option.default)):
        return f"{option.variable}={value}", True
    return option.variable, False


class WordedReporter(Reporter):
    """A reporter that speaks the language of the door."""

    def __init__(self, door: Door) -> None:
        super().__init__()
        self._door = door

    def line(self, mark: str, text: str, style: str = "") -> None:
        """See `Reporter`."""
        super().line(mark, self._door.worded(text), style)
