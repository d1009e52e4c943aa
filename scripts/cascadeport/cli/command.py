"""What a command of the command line is, and what it is called with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cascadeport.base.progress import Reporter
from cascadeport.config.options import Option, Options, Request
from cascadeport.config.options.table import ALL


@dataclass(frozen=True)
class Call:
    """One call of a command.

    Args:
        options: The options for a target.
        request: The options of the command itself.
        given: The fields of the options that were given.
        worded: Puts a message into the language of the door that the user came in by.
        reporter: Tells the user what happens.
    """

    options: Options
    request: Request
    given: frozenset[str]
    worded: Callable[[str], str]
    reporter: Reporter


@dataclass(frozen=True)
class Command:
    """A command.

    Args:
        name: What it is called; the Makefile has a target of the same name.
        meaning: What it does, in Markdown.
        run: Runs it and returns its exit code.
        fields: The options that it takes, besides `--debug`.
        words: Those of them that words of their own give as well, in this order: `explain A B`.
    """

    name: str
    meaning: str
    run: Callable[[Call], int]
    fields: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def options(self) -> tuple[Option, ...]:
        """The options that it takes."""
        return tuple(each for each in ALL if each.field in (*self.fields, "debug"))
