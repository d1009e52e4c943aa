"""Which NVIDIA GPU a container sees, by the driver and its own tool: onnxruntime does not say."""

from __future__ import annotations

import ctypes
import subprocess
import uuid
from typing import Dict, Optional, Tuple

from bundle.device import GPU, proof

_QUERY = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
_SECONDS = 20
#: The driver's own library; CUDA, and so onnxruntime's provider, works through it.
LIBRARY = "libcuda.so.1"
_NAME_BYTES = 256


def nvidia_gpu() -> Dict[str, str]:
    """`device` and `driver` of the first GPU; nothing where nvidia-smi does not answer."""
    try:
        done = subprocess.run(
            _QUERY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    name, _, driver = (lines[0] if lines else "").rpartition(",")
    if done.returncode != 0 or not name:
        return {}
    return {"device": name.strip(), "driver": driver.strip()}


def nvidia_proof(ordinal: int, library: str = LIBRARY) -> Dict[str, Optional[str]]:
    """The proof of a GPU: name and UUID by the driver's library (cuda.h, CUDA driver API).

    Args:
        ordinal: CUDA's number of the GPU, as the provider's `device_id` is.
        library: The driver's library.
    """
    name, serial, version = _driver_says(ordinal, library)
    release = nvidia_gpu().get("driver")
    driver = " ".join(filter(None, [release, "CUDA {}.{}".format(*version) if version else None]))
    return proof(GPU, name, library, serial, driver or None)


def _driver_says(
    ordinal: int, library: str
) -> Tuple[Optional[str], Optional[str], Optional[Tuple[int, int]]]:
    """Name, UUID and the version of CUDA that the driver supports; None where it does not say."""
    try:
        cuda = ctypes.CDLL(library)
        device, version = ctypes.c_int(), ctypes.c_int()
        name, unique = ctypes.create_string_buffer(_NAME_BYTES), (ctypes.c_ubyte * 16)()
        # All return 0 for success. cuInit may be called as often as one likes.
        failed = (
            cuda.cuInit(0)
            or cuda.cuDeviceGet(ctypes.byref(device), ordinal)
            or cuda.cuDeviceGetName(name, _NAME_BYTES, device)
            or cuda.cuDeviceGetUuid(ctypes.byref(unique), device)
            or cuda.cuDriverGetVersion(ctypes.byref(version))
        )
    except (OSError, AttributeError):
        return None, None, None
    if failed:
        return None, None, None
    # A version is 1000 * major + 10 * minor.
    release = version.value // 1000, version.value % 1000 // 10
    serial = "GPU-{}".format(uuid.UUID(bytes=bytes(unique)))
    return name.value.decode("utf-8", "replace"), serial, release
