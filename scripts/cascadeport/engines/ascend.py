"""What an Ascend host says of itself before a container starts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from cascadeport.options import Options

NODE = Path("/dev/davinci0")


def variables(options: Options, environ: Mapping[str, str]) -> dict[str, str]:
    """Values for the compose files of Ascend targets.

    The device nodes belong to HwHiAiUser (often 0660), whose number differs from host to host:
    the container's user joins the group that the host's node has.
    """
    found: dict[str, str] = {}
    if "ASCEND_GID" not in environ:
        with contextlib.suppress(OSError):
            found["ASCEND_GID"] = str(NODE.stat().st_gid)
    return found
