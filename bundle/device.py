"""What proves the device that a pass ran on: its name and serial by whoever drives it.

A runtime can be stood in for by anything of its name. So a runner asks below it: the system for the
processor, the driver for a card. What proves a target's device is the orchestrator's to say.
"""

from __future__ import annotations

import os
import platform
from typing import Dict, Optional

PROCESSOR, GPU, NPU, STAND_IN = "processor", "gpu", "npu", "stand-in"


def proof(
    kind: str,
    name: Optional[str],
    by: str,
    serial: Optional[str] = None,
    driver: Optional[str] = None,
    node: Optional[str] = None,
) -> Dict[str, Optional[str]]:
    """An entry of `device_proof` in what a runner says of itself.

    Args:
        kind: `PROCESSOR`, `GPU`, `NPU`, or `STAND_IN` for what says itself that it is none.
        name: The device's name; None where nothing answered.
        by: Who says so.
        serial: What no other device has.
        driver: The driver's version.
        node: The kernel's name of what drives its device node.
    """
    return {
        "kind": kind,
        "name": name,
        "by": by,
        "serial": serial,
        "driver": driver,
        "node": node,
    }


def processor() -> Dict[str, Optional[str]]:
    """The proof of a processor: its name, else its architecture. It ran this, so it is there."""
    from bundle.environment import host

    name = host()["cpu"]
    return proof(PROCESSOR, name if name != "unknown" else platform.machine(), "the system")


def node_driver(path: str, devices: str = "/proc/devices") -> Optional[str]:
    """The kernel's name of what drives a character device; None where it does not tell.

    `mem` drives /dev/null and /dev/zero, which stand in for nodes where there is no device.

    Args:
        path: The device node.
        devices: The kernel's list: under "Character devices:" a number and a name a line.
    """
    try:
        major = os.major(os.stat(path).st_rdev)
        with open(devices, encoding="utf-8") as stream:
            characters = stream.read().partition("Block devices:")[0]
    except (OSError, AttributeError, UnicodeDecodeError):
        return None
    for line in characters.splitlines():
        number, _, name = line.strip().partition(" ")
        if number.isdecimal() and int(number) == major:
            return name.strip()
    return None
