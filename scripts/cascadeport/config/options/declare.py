"""What the declaration of an option says, and how its value is read."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cascadeport.base.errors import CascadeportError
from cascadeport.base.suggest import suggest

_KEY = "option"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True)
class _Declared:
    meaning: str
    metavar: str
    choices: tuple[str, ...]
    minimum: int | None
    absolute: bool
    besides: tuple[str, ...]


def option(
    meaning: str,
    metavar: str = "",
    *,
    default: Any = None,
    choices: Sequence[str] = (),
    minimum: int | None = None,
    absolute: bool = False,
    besides: Sequence[str] = (),
) -> Any:
    """Declares a field of a dataclass as an option.

    Args:
        meaning: What it does, in Markdown, for `--help` and docs/command-line.md.
        metavar: What its value is called there; a flag has none.
        default: Its value unless given; a function is called for it.
        choices: The values that there are.
        minimum: The smallest integer allowed.
        absolute: Whether its path is made absolute.
        besides: Words that it takes instead of a number.
    """
    declared = _Declared(meaning, metavar, tuple(choices), minimum, absolute, tuple(besides))
    metadata = {_KEY: declared}
    if callable(default):
        return dataclasses.field(default_factory=default, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """One option: a field of a dataclass, and what is declared of it.

    Args:
        field: The field's name.
        kind: `bool`, `int`, `float`, `Path` or `str`: the type of its value.
        default: Its value unless given; None also where somebody else decides.
        meaning: What it does, in Markdown.
        metavar: What its value is called; empty for a flag.
        choices: The values that there are; empty: any.
        minimum: The smallest integer allowed; None: any.
        absolute: Whether its path is made absolute.
        besides: Words that it takes instead of a number.
    """

    field: str
    kind: type
    default: Any
    meaning: str
    metavar: str
    choices: tuple[str, ...]
    minimum: int | None
    absolute: bool
    besides: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        """Its name on the command line: `--keep-going`."""
        return "--" + self.field.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its variable of the Makefile: `KEEP_GOING`."""
        return self.field.upper()

    @property
    def carrier(self) -> str:
        """The environment variable that takes its value from make to the program."""
        return f"CASCADEPORT_{self.variable}"

    @property
    def is_flag(self) -> bool:
        """Whether it has no value."""
        return self.kind is bool

    @property
    def usage(self) -> str:
        """How the command line's help writes it: `--limit N`."""
        return self.flag if self.is_flag else f"{self.flag} {self.metavar}"

    def value(self, text: str) -> Any:
        """Reads a value.

        Raises:
            CascadeportError: It is not a value of this option; the message says what is.
        """
        if not text:
            raise CascadeportError(f"{self.flag} has an empty value.", next=self._wanted)
        if self.choices and text not in self.choices:
            raise CascadeportError(
                f"{self.flag} cannot be '{text}'; {suggest(text, self.choices)}.",
                next=f"{self.flag} takes one of: {', '.join(self.choices)}.",
            )
        if text in self.besides:
            return text
        if self.kind is int:
            return self._number(text)
        if self.kind is float:
            return self._decimal(text)
        if self.kind is Path:
            path = Path(text).expanduser()
            return path.resolve() if self.absolute else path
        return text

    def _number(self, text: str) -> int:
        # Not int() alone: it takes 1_000, spaces and the digits of every script.
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) < 19):
            raise CascadeportError(
                f"{self.flag} must be a whole number, not '{text}'.", next=self._wanted
            )
        number = int(text)
        if self.minimum is not None and number < self.minimum:
            raise CascadeportError(
                f"{self.flag} must be at least {self.minimum}, not {number}.", next=self._wanted
            )
        return number

    def _decimal(self, text: str) -> float:
        # Not float() alone: it takes nan, infinity, exponents and the digits of every script.
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
            raise CascadeportError(
                f"{self.flag} must be a number such as 0.5, not '{text}'.",
                next=f"For example {self.flag} 0.5, or leave it out.",
            )
        return float(text)

    @property
    def _wanted(self) -> str:
        if self.minimum is not None:
            also = "".join(f", or {word}" for word in self.besides)
            return f"Give {self.minimum} or more{also}."
        return f"For example {self.usage}, or leave it out."

    def switch(self, text: str) -> bool:
        """Reads the value that make has for a flag.

        Raises:
            CascadeportError: It is neither 0 nor 1.
        """
        if text.lower() in _TRUE:
            return True
        if text.lower() in _FALSE:
            return False
        raise CascadeportError(
            f"{self.variable}={text} is neither 1 nor 0.",
            next=f"{self.variable}=1 sets it; without {self.variable} it is not set.",
        )

    def words(self, value: Any) -> list[str]:
        """The words of a command line that give a value; none for the default."""
        if value is None or value is False or value == self.default:
            return []
        return [self.flag] if value is True else [f"{self.flag}={value}"]


@cache
def of(table: type) -> tuple[Option, ...]:
    """The options among the fields of a dataclass, in their order."""
    hints = typing.get_type_hints(table)
    found = []
    for field in dataclasses.fields(table):
        declared = field.metadata.get(_KEY)
        if declared is None:
            continue
        made: Callable[[], Any] | Any = field.default_factory
        default = field.default if made is dataclasses.MISSING else made()
        found.append(
            Option(
                field.name,
                _kind(hints[field.name]),
                default,
                declared.meaning,
                declared.metavar,
                declared.choices,
                declared.minimum,
                declared.absolute,
                declared.besides,
            )
        )
    return tuple(found)


def _kind(annotation: Any) -> type:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(a for a in typing.get_args(annotation) if a is not type(None))
    if annotation not in (bool, int, float, Path, str):
        raise TypeError(f"an option cannot be a {annotation}")
    kind: type = annotation
    return kind
