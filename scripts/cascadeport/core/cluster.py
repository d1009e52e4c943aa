"""What a Kubernetes cluster has to know of a family of devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PlugIn:
    """How a cluster hands a target's devices to a pod: by the vendor's device plug-in.

    Args:
        resource: The plug-in's name for one device.
        count: How many of them a pod needs.
        nodes: The device nodes of the compose file that the plug-in brings.
        brings: Folders of the host that the vendor's container runtime brings into a pod.
        labels: What the vendor's plug-in for Volcano reads: how devices are to be chosen.
        chosen: The environment variable that says which devices Volcano chose, and the annotation
            of the pod that it is taken from.
    """

    resource: str
    count: int
    nodes: tuple[str, ...] = ()
    brings: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    chosen: tuple[str, str] | None = None

    @property
    def uses_volcano(self) -> bool:
        """Whether clusters with such devices are scheduled by Volcano."""
        return self.chosen is not None
