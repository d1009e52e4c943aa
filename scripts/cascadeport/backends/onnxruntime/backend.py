"""The backend of onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from packaging.version import Version
from pydantic import Field

from cascadeport.backends.onnxruntime import nvidia
from cascadeport.backends.onnxruntime.lowering import CurrentOperators, StandardOperators
from cascadeport.base.errors import CascadeportError
from cascadeport.config.compose import Service
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.backend import Backend, LoweringChoice
from cascadeport.core.check import Check, Finding
from cascadeport.core.cluster import PlugIn
from cascadeport.core.context import Context
from cascadeport.core.device import DeviceProof, DeviceState
from cascadeport.graph.onnx_session import has_deform_conv, load_session
from cascadeport.graph.verify import Session

_CPU: Final = "CPUExecutionProvider"
_CUDA: Final = "CUDAExecutionProvider"


class OnnxRuntimeTarget(Target):
    """A row of this backend.

    Args:
        provider: The execution provider; there is no fallback to another.
        provider_options: The provider's options.
        session: onnxruntime's session configuration entries.
    """

    provider: Literal["CPUExecutionProvider", "CUDAExecutionProvider"] = _CPU
    provider_options: Mapping[str, str] = Field(default_factory=dict)
    session: Mapping[str, str] = Field(default_factory=dict)


def _on_cpu(context: Context) -> bool:
    return getattr(context.target, "provider", "") == _CPU


def _load(context: Context) -> Finding:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        return Finding(
            "load",
            "warn",
            f"Other work keeps {load:.1f} of {cores} cores busy.",
            reason="Times measured on a busy CPU are too long and vary widely.",
            remedy="Wait until it is done, or treat the times with caution.",
        )
    return Finding("load", "ok", f"{load:.1f} of {cores} cores busy.")


class OnnxRuntime(Backend[OnnxRuntimeTarget]):
    """onnxruntime on a CPU or a CUDA GPU."""

    Row = OnnxRuntimeTarget
    supported = frozenset({"lowering", "batch", "streams"})
    lowerings = (CurrentOperators, StandardOperators)
    checks = (
        Check("load", lambda context: _on_cpu(context) and context.is_here, _load),
        *nvidia.checks(lambda context: getattr(context.target, "provider", "") == _CUDA),
    )

    def lowering(self, engine: str) -> LoweringChoice:
        """See `Backend`: an onnxruntime without `DeformConv` (as on Python 3.10) runs the same
        network in standard operators, and the plan says so."""
        if engine != "local" or has_deform_conv():
            return LoweringChoice(CurrentOperators())
        note = (
            f"onnxruntime {_installed()} has no DeformConv: the network runs in standard "
            "operators, which is slower; the detections are the same"
        )
        return LoweringChoice(StandardOperators(), (note,))

    def session(self, network: Path, lowering: str) -> Session | None:
        """See `Backend`. The CPU provider verifies for all: float32 is the same in each."""
        if lowering == CurrentOperators.name and not has_deform_conv():
            return None
        return load_session(network)

    def quantiser(self, lowering: str) -> str:
        """See `Backend`: onnxruntime's own, of the CPU provider."""
        if self._is_gpu:
            raise CascadeportError(
                "onnxruntime's CUDA provider has no convolutions in int8: the network would only "
                "round to them.",
                where="--precision int8",
                next="Use --precision float16 on a GPU, or a target on a CPU.",
            )
        if lowering != CurrentOperators.name:
            raise CascadeportError(
                f"The lowering '{lowering}' is of opset 11, in which a convolution's weights have "
                "one range for all channels.",
                where="--precision int8",
                next="Use an onnxruntime of 1.32 or later (Python 3.11 or later), and its own "
                "lowering.",
            )
        return "onnxruntime"

    def runner(self, options: Options) -> dict[str, Any]:
        """See `Backend`."""
        own: dict[str, Any] = {}
        if self.target.provider_options:
            own["provider"] = dict(self.target.provider_options)
        if self.target.session:
            own["session"] = dict(self.target.session)
        return {"name": "onnxruntime", "provider": self.target.provider, "options": own}

    def varies(self, options: Options) -> dict[str, Sequence[Any]]:
        """See `Backend`: the lowering of current releases has other precisions, too."""
        chosen = self.chosen_lowering(options, options.engine or self.target.engine).lowering
        if not isinstance(chosen, CurrentOperators):
            return dict(super().varies(options))
        precisions = ("float16",) if self._is_gpu else ("float16", "int8")
        return {**super().varies(options), "precision": precisions}

    def devices(self, context: Context) -> tuple[str, ...]:
        """See `Backend`."""
        return (nvidia.device(context),) if self._is_gpu else super().devices(context)

    def device_states(self, context: Context) -> list[DeviceState]:
        """See `Backend`."""
        return nvidia.states(context) if self._is_gpu else []

    def unproved(self, proof: DeviceProof) -> str | None:
        """See `Backend`: any GPU that NVIDIA's driver names and numbers; results name it."""
        return nvidia.unproved(proof) if self._is_gpu else super().unproved(proof)

    @property
    def is_processor(self) -> bool:
        """See `Backend`."""
        return not self._is_gpu

    @property
    def _is_gpu(self) -> bool:
        return self.target.provider == _CUDA

    def versions(self) -> dict[str, str]:
        """See `Backend`."""
        return {"onnxruntime": str(_installed())}

    def plug_in(self, service: Service, options: Options) -> PlugIn | None:
        """See `Backend`."""
        return nvidia.plug_in(service) if self._is_gpu else None

    def refusal(self, text: str, address: str) -> CascadeportError | None:
        """See `Backend`."""
        return nvidia.refusal(text, address)


def _installed() -> Version:
    return Version(metadata.version("onnxruntime"))
