"""The backend of OpenVINO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from pydantic import Field

from cascadeport.base.errors import CascadeportError
from cascadeport.base.paths import IMAGES
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.backend import Backend, Inside, LoweringChoice, unless_processor
from cascadeport.core.device import DeviceProof
from cascadeport.core.environment import PythonEnvironment
from cascadeport.engines import tensors
from cascadeport.graph import opset19
from cascadeport.graph.editing import EditableGraph
from cascadeport.graph.lowering import Lowering, LoweringRequest, refuse_precision
from cascadeport.graph.onnx_session import has_deform_conv
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
    any_shape = True
    several = True

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
    supported = frozenset({"batch", "streams"})

    def lowering(self, engine: str) -> LoweringChoice:
        """See `Backend`."""
        return LoweringChoice(OpenVinoLowering())

    def session(self, network: Path, lowering: str) -> Session | None:
        """See `Backend`. None unless the environment is installed, as with containers."""
        if lowering != OpenVinoLowering.name or not self.environment.is_installed:
            return None
        runtime = f"openvino {self.environment.pinned['openvino']}"
        return tensors.session(self.environment.python, network, self._runner("CPU"), runtime)

    def values(self, network: Path) -> Inside | None:
        """See `Backend`: OpenVINO on the processor, if its environment is installed."""
        if not self.environment.is_installed or self.target.device != "CPU":
            return None
        python = self.environment.python

        def inside(picture: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
            return tensors.values(python, network, self._runner("CPU"), picture, names)

        return inside

    def quantiser(self, lowering: str) -> str:
        """See `Backend`: NNCF, by the project of OpenVINO itself."""
        if self.target.device != "CPU":
            raise CascadeportError(
                f"int8 is measured on OpenVINO's CPU here; this target's device is "
                f"{self.target.device}.",
                where="--precision int8",
                next="Use a target on a CPU.",
            )
        if not has_deform_conv():
            raise CascadeportError(
                "NNCF runs the network in onnxruntime, which has no DeformConv on this Python.",
                where="--precision int8",
                next="Use Python 3.11 or later.",
            )
        return "nncf"

    def unproved(self, proof: DeviceProof) -> str | None:
        """See `Backend`: what OpenVINO's driver of another device than the processor names."""
        if self.target.device == "CPU":
            return unless_processor(proof)
        wanted = self.target.device.partition(".")[0].lower()
        if proof.kind == wanted and proof.serial:
            return None
        return (
            f"{proof.name} is not proved to be a {wanted.upper()}: it is of kind {proof.kind}"
            + ("" if proof.serial else " and has no UUID")
        )

    def runner(self, options: Options) -> dict[str, Any]:
        """See `Backend`."""
        return self._runner(self.target.device)

    def varies(self, options: Options) -> dict[str, Sequence[Any]]:
        """See `Backend`: on a processor int8 as well."""
        own: dict[str, Sequence[Any]] = {"precision": ("int8",)} if self.is_processor else {}
        return {**super().varies(options), **own}

    def _runner(self, device: str) -> dict[str, Any]:
        properties = dict(self.target.properties)
        own = {"properties": properties} if properties else {}
        return {"name": "openvino", "provider": device, "options": own}

    @property
    def is_processor(self) -> bool:
        """See `Backend`."""
        return self.target.device == "CPU"

    @property
    def environment(self) -> PythonEnvironment:
        """See `Backend`: the image's own lock."""
        return PythonEnvironment("openvino", IMAGES / "openvino" / "requirements.lock")
