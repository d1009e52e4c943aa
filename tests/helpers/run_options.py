"""`cascadeport all` with options that the command line does not have: `run_options.py JSON`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from cascadeport.base.errors import CascadeportError
from cascadeport.base.progress import Reporter
from cascadeport.commands.run import run
from cascadeport.config.options import Options


def main() -> int:
    """Runs it; returns the exit code."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    for name in ("build", "results", "targets"):
        if name in given:
            given[name] = Path(given[name])
    try:
        return run(Options(**given), Reporter())
    except CascadeportError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
