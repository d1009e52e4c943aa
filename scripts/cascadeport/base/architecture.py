"""The architecture that containers run on, by its name in `uname -m`.

Packages of the vendors, wheels and compiled modules are one file for each architecture.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping

#: Docker's name of a platform, and the machine's own.
PLATFORMS = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
#: Among the values that compose files are filled with: the architecture, for whoever names files.
VARIABLE = "CONTAINER_MACHINE"


def of_platform(name: str | None) -> str:
    """The architecture of a platform; of none: this machine's, as far as Linux has it."""
    if name is not None:
        return PLATFORMS[name]
    machine = platform.machine()
    # Docker on a Mac with an Apple chip runs Linux of the same architecture.
    return {"arm64": "aarch64", "AMD64": "x86_64"}.get(machine, machine)


def of(variables: Mapping[str, str]) -> str:
    """The architecture that the values say, else this machine's."""
    return variables.get(VARIABLE) or of_platform(None)
