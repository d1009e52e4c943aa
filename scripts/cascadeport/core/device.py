"""What a device says of itself while a pass runs on it, and what proves that it is there."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class DeviceState(BaseModel):
    """A device at one moment; None and empty where its tool does not tell.

    Args:
        device: Its name: `GPU 0`, `chip 1`.
        clock_mhz: Its clock.
        clock_max_mhz: The highest that it has.
        temperature_c: In degrees Celsius.
        power_w: In watts.
        throttled: Why it is slower than it could be, in its tool's words.
        processes: How many processes use it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    device: str
    clock_mhz: float | None = None
    clock_max_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    throttled: tuple[str, ...] = ()
    processes: int | None = None


class DeviceProof(BaseModel):
    """What proves a device that ran a network: an entry of `device_proof` (bundle/device.py).

    Args:
        kind: What it is; `stand-in` says itself that it is no device.
        name: Its name; None where whoever drives it did not answer.
        by: Who says so.
        serial: What no other device has.
        driver: The driver's version.
        node: The kernel's name of what drives its device node.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["processor", "gpu", "npu", "stand-in"]
    name: str | None
    by: str
    serial: str | None = None
    driver: str | None = None
    node: str | None = None
