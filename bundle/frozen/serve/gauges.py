"""What /metrics says of this moment, and of the image."""

from __future__ import annotations

from typing import Dict, List, Tuple

from bundle.frozen.layout import Frozen
from bundle.frozen.serve.engine import Engine
from bundle.frozen.serve.lane import READY
from bundle.frozen.serve.limits import Limits

Gauge = Tuple[str, str, float]


def gauges(engine: Engine, limits: Limits) -> List[Gauge]:
    """Name, help and value of each figure."""
    ready = sum(lane.state == READY for lane in engine.lanes)
    losses = sum(lane.losses for lane in engine.lanes)
    return [
        ("ready", "Whether requests are accepted.", float(engine.state == READY)),
        ("queue", "Requests that are accepted and not answered.", float(engine.waiting)),
        ("queue_limit", "How many there may be.", float(limits.queue)),
        ("devices", "Devices.", float(len(engine.lanes))),
        ("devices_ready", "Devices that are ready.", float(ready)),
        ("device_losses", "How often a device was lost since the start.", float(losses)),
    ]


def info(frozen: Frozen) -> Dict[str, str]:
    """What does not change, as labels."""
    return {
        "name": frozen.name,
        "version": frozen.version,
        "target": frozen.target,
        "labels": ",".join(sorted({label.name for label in frozen.labels})),
    }
