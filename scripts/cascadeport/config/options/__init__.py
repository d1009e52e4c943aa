"""Options, declared once: an entry in `table.py` is all that a new one needs besides its use.

    declare.py      what an entry says, and how its values are read
    table.py        the options: `Options` of a run, `Request` of the command line around it
    environment.py  the environment variables that are read, and by whom

The command line (cascadeport.cli.parser), the Makefile's variables (scripts/options.mk),
docs/command-line.md and the wording of messages (cascadeport.cli.door) are made from these.
"""

from cascadeport.config.options.declare import Option, of
from cascadeport.config.options.table import Options, Request

__all__ = ["Option", "Options", "Request", "of"]
