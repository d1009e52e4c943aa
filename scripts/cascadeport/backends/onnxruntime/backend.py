"""The backend of onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal

from packaging.version import Version
from pydantic import Field

from cascadeport.backends.onnxruntime import nvidia
from cascadeport.backends.onnxruntime.lowering import CurrentOperators, StandardOperators
from cascadeport.base.errors import CascadeportError
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.backend import Backend, LoweringChoice
from cascadeport.core.check import Check, Finding
from cascadeport.core.context import Context
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
        if lowering != self.lowering("local").lowering.name:
            return None
        return load_session(network)

    def runner(self, options: Options) -> dict[str, Any]:
        """See `Backend`."""
        own: dict[str, Any] = {}
        if self.target.provider_options:
            own["provider"] = dict(self.target.provider_options)
        if self.target.session:
            own["session"] = dict(self.target.session)
        return {"name": "onnxruntime", "provider": self.target.provider, "options": own}

    def versions(self) -> dict[str, str]:
        """See `Backend`."""
        return {"onnxruntime": str(_installed())}

    def refusal(self, text: str, address: str) -> CascadeportError | None:
        """See `Backend`."""
        return nvidia.refusal(text, address)


def _installed() -> Version:
    return Version(metadata.version("onnxruntime"))
