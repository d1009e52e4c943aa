"""`python -m cascadeport`, or `python scripts/cascadeport` from anywhere, without PYTHONPATH.

PYTHONPATH cannot name a folder whose name has a colon in it; a path on the command line can.
"""

import sys
from pathlib import Path

if not __package__:
    # Run by its path, Python has put this very folder first; the package and the bundle are beside
    # and above it.
    _SCRIPTS = Path(__file__).resolve().parents[1]
    sys.path[:1] = [str(_SCRIPTS), str(_SCRIPTS.parent)]

try:
    from cascadeport.cli.main import entry
except ModuleNotFoundError as error:
    print(
        f"cascadeport: This Python has no package '{error.name}'.\n"
        f"  where: {sys.executable}\n"
        "  next:  Use .venv/bin/cascadeport; `make plan` installs it.",
        file=sys.stderr,
    )
    sys.exit(2)

sys.exit(entry())
