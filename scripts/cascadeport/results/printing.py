"""Prints the comparison where it is read: a table on a terminal, Markdown in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console

from cascadeport.results import tables
from cascadeport.results.comparison import Comparison
from cascadeport.results.terminal import TerminalTable


def show(table: Comparison) -> None:
    """Prints the comparison to standard output; both forms have the same numbers."""
    if sys.stdout is not None and sys.stdout.isatty():
        Console(file=sys.stdout, highlight=False, emoji=False).print(TerminalTable(table))
    else:
        print(tables.as_markdown(table))
