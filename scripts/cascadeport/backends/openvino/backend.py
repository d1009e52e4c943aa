"""The backend of OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from pydantic import Field

from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import IMAGES
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.backend import Backend, LoweringChoice
from cascadeport.core.environment import PythonEnvironment
from cascadeport.engines import tensors
from cascadeport.graph import opset19
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.lowering import Lowering, LoweringRequest, refuse_precision
from cascadeport.graph.verify import Session


class OpenVinoTarget(Target):
    """A row of this backend.

    Args:
        device: OpenVINO's device name: `CPU`, `GPU`, `GPU.1`; there is no fallback to another.
        properties: OpenVINO's properties of the compiled model.
    """

    device: str = Field(default="CPU", pattern=r"^[A-Z]+(\.\d+)?$")
    properties: Mapping[str, str] = Field(default_factory=dict)


class OpenVinoLowering(Lowering):
    """Opset 19; the runner maps `DeformConv` to OpenVINO's own deformable convolution."""

    name = "openvino"

    def check(self, request: LoweringRequest) -> None:
        """See `Lowering`: OpenVINO drops a graph's own rounding to float16."""
        refuse_precision(self, request, "OpenVINO runs in float32 here; leave --precision out.")
        if request.half_nms:
            raise CascadeportError(
                "OpenVINO drops the rounding to float16 before NMS.",
                where="--nms-precision float16",
                next="Leave --nms-precision out for this target.",
            )

    def rewrite(
        self, graph: EditableGraph, request: LoweringRequest, changes: list[str]
    ) -> onnx.ModelProto:
        """See `Lowering`."""
        return opset19.lower(graph)


class OpenVino(Backend[OpenVinoTarget]):
    """OpenVINO on a processor."""

    Row = OpenVinoTarget
    lowerings = (OpenVinoLowering,)

    def lowering(self, engine: str) -> LoweringChoice:
        """See `Backend`."""
        return LoweringChoice(OpenVinoLowering())

    def session(self, network: Path, lowering: str) -> Session | None:
        """See `Backend`. None unless the environment is installed, as with containers."""
        if lowering != OpenVinoLowering.name or not self.environment.is_installed:
            return None
        runtime = f"openvino {self.environment.pinned['openvino']}"
        return tensors.session(self.environment.python, network, self._runner("CPU"), runtime)

    def runner(self, options: Options) -> dict[str, Any]:
        """See `Backend`."""
        return self._runner(self.target.device)

    def _runner(self, device: str) -> dict[str, Any]:
        properties = dict(self.target.properties)
        own = {"properties": properties} if properties else {}
        return {"name": "openvino", "provider": device, "options": own}

    @property
    def environment(self) -> PythonEnvironment:
        """See `Backend`: the image's own lock."""
        return PythonEnvironment("openvino", IMAGES / "openvino" / "requirements.lock")
