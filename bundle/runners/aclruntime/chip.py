"""Which chip CANN's driver drives, by CANN's own library: aclruntime does not say.

`aclrtGetSocName` of libascendcl is what mindspore asks too (mindspore-ai/mindspore,
mindspore/ccsrc/cxx_api/acl_utils.h). It answers with atc's name of the chip.
"""

from __future__ import annotations

import ctypes
from typing import Dict, List, Optional, Sequence

from bundle.device import NPU, STAND_IN, node_driver, proof

LIBRARY = "libascendcl.so"
_NODE = "/dev/davinci{}"
_DRIVER = "/usr/local/Ascend/driver/version.info"


def proofs(devices: Sequence[int], simulated: bool) -> List[Dict[str, Optional[str]]]:
    """A proof for each chip of a pass.

    Args:
        devices: The chips' numbers.
        simulated: Whether aclruntime says itself that it is a stand-in.
    """
    if simulated:
        return [proof(STAND_IN, "a stand-in for a chip", "aclruntime") for _ in devices]
    name, version = soc_name(), driver_version()
    return [
        proof(NPU, name, LIBRARY, driver=version, node=node_driver(_NODE.format(device)))
        for device in devices
    ]


def soc_name(library: str = LIBRARY) -> Optional[str]:
    """The chip by CANN's name for it; None where there is no CANN, or it does not answer."""
    try:
        acl = ctypes.CDLL(library)
        ask, initialise = acl.aclrtGetSocName, acl.aclInit
    except (OSError, AttributeError):
        return None
    ask.argtypes, ask.restype = [], ctypes.c_char_p
    found = ask()
    if not found:
        # It learns the name when it is initialised, which a process without a session has not done.
        initialise.argtypes, initialise.restype = [ctypes.c_char_p], ctypes.c_int
        initialise(None)
        found = ask()
    return found.decode("utf-8", "replace") if found else None


def driver_version(path: str = _DRIVER) -> Optional[str]:
    """The driver's version in its version.info, as the host's is mounted; None without one."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                key, _, value = line.strip().partition("=")
                if key == "Version":
                    return value
    except OSError:
        pass
    return None
