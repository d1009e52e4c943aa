"""Ascend chips in a Kubernetes cluster: the vendor's device plug-in, and Volcano.

Names are those of Ascend/ascend-device-plugin, `pkg/common/constants.go` (`huawei.com/Ascend310`,
`huawei.com/Ascend310P`, whatever the chip's variant); labels and the annotation with the chosen
chips are those of the vendor's plug-in for Volcano and of its `infer-deploy.yaml`.
"""

from __future__ import annotations

import re

from cascadeport.config.compose import Service, device_paths
from cascadeport.core.cluster import PlugIn

_PREFIX = "huawei.com/"
_FAMILY = re.compile(r"Ascend310P?(?=\d|$)")
_CHIP = re.compile(r"/dev/davinci\d+")
_DRIVER = "/usr/local/Ascend/driver"
_CHOSEN = "ASCEND_VISIBLE_DEVICES"
_CHIPS_OF_A_CARD = 4


def plug_in(soc: str, service: Service) -> PlugIn | None:
    """The plug-in for what a service declares; None: the vendor's plug-in does not know the chip.

    Args:
        soc: CANN's name of the chip, such as Ascend310P3.
        service: The service, its variables filled.
    """
    family = _FAMILY.match(soc)
    if family is None:
        return None
    resource = _PREFIX + family[0]
    targets = [device.split(":")[1] for device in service.devices]
    count = sum(bool(_CHIP.fullmatch(one)) for one in targets)
    labels = {}
    if family[0] == "Ascend310":
        # A pod that asks for a whole card gets the four chips of one, not four of several.
        labels["npu-310-strategy"] = "card" if count == _CHIPS_OF_A_CARD else "chip"
    return PlugIn(
        resource,
        count,
        nodes=tuple(device_paths(service)),
        brings=(_DRIVER,),
        labels=labels,
        chosen=(_CHOSEN, resource),
    )
