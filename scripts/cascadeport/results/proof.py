"""Whether a pass proves the device that it ran on: what nobody proved was not measured.

`simulated` alone is a word of the runtime's own, which a stand-in without a mark does not say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pydantic

from cascadeport.core.device import DeviceProof
from cascadeport.results.run_record import RunRecord

KEY = "device_proof"
_CONTAINERS = ("docker", "swarm")
_IMAGE_ID = re.compile(r"(sha256:)?[0-9a-f]{64}")

#: Why a proven device is not the target's: see `Backend.unproved`.
Judge = Callable[[DeviceProof], str | None]


def problems(run: RunRecord, judge: Judge | None) -> list[str]:
    """What a pass leaves unproved, a clause each.

    One that counts as measured has proved every device; one that is marked as simulated ran on what
    says itself that it is a stand-in.

    Args:
        run: run.json.
        judge: The target's judge; None: any device will do that has a name.
    """
    return _of_devices(run, judge) + _of_image(run)


def _of_devices(run: RunRecord, judge: Judge | None) -> list[str]:
    try:
        found = [DeviceProof.model_validate(one) for one in run.environment.get(KEY) or []]
    except (pydantic.ValidationError, TypeError):
        return [f"infer/run.json: `{KEY}` cannot be read; run it again"]
    if not found:
        return ["infer/run.json: nothing proves which device ran the network; run it again"]
    if run.simulated:
        real = sorted({str(one.name) for one in found if one.kind != "stand-in"})
        text = "infer/run.json: {} ran the network, and the pass is marked as simulated"
        return [text.format(name) for name in real]
    reasons = {_judged(one, judge): None for one in found}
    return [f"infer/run.json: {reason}" for reason in reasons if reason]


def _judged(one: DeviceProof, judge: Judge | None) -> str | None:
    if one.kind == "stand-in":
        return f"{one.by} says that it is {one.name}, and the pass is not marked as simulated"
    if not one.name:
        return f"{one.by} named no device, so nothing proves that one ran the network"
    return judge(one) if judge else None


def _of_image(run: RunRecord) -> list[str]:
    """Whether a pass in a container says which image that was, by its content."""
    engine = (run.model_extra or {}).get("engine")
    if not isinstance(engine, Mapping) or engine.get("engine") not in _CONTAINERS:
        return []
    ids = [str(value) for key, value in engine.items() if str(key).startswith("image:")]
    if ids and all(_IMAGE_ID.fullmatch(one) for one in ids):
        return []
    return ["infer/run.json: nothing proves which image ran the network; run it again"]
