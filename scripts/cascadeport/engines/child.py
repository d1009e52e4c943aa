"""The environment of child processes that run the bundle or the exporter on this machine."""

from __future__ import annotations

import os

# The user's modules are for another Python; and PYTHONPATH could not name a folder with a colon in
# its name. `python3 -m` finds its package in the folder in which the child is started.
_NOT_INHERITED = ("PYTHONPATH", "PYTHONSAFEPATH")


def environment() -> dict[str, str]:
    """This process's environment, for Python in UTF-8 and with output as it comes.

    Names of pictures are UTF-8 on disk, whatever the locale says.
    """
    kept = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
    return {**kept, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"}
