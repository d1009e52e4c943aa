"""The backend of Ascend NPUs."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cascadeport.backends.ascend import checks, convert, host, simulator
from cascadeport.backends.ascend.lowering import Ascend
from cascadeport.backends.ascend.reference_executor import executable
from cascadeport.backends.ascend.target import AscendTarget
from cascadeport.base.errors import CascadeportError
from cascadeport.config.cards import Card, Shape
from cascadeport.config.compose import Service
from cascadeport.config.options import Options
from cascadeport.core.backend import Backend, LoweringChoice
from cascadeport.core.context import Context
from cascadeport.core.machine import Machine
from cascadeport.core.plan import Variant
from cascadeport.core.stage import Stage
from cascadeport.graph.lowering import LoweringRequest
from cascadeport.graph.onnx_session import has_deform_conv, load_session
from cascadeport.graph.verify import Session

# The vendor's tool in the images.
_AIS_INFER = "/opt/ais_infer/ais_infer.py"
# The build argument of every image that installs CANN.
_CANN = "CANN"


class AscendBackend(Backend[AscendTarget]):
    """Ascend chips through CANN; simulated, the same containers with a stand-in for it."""

    Row = AscendTarget
    supported = frozenset({"simulate", "bins"})
    lowerings = (Ascend,)
    # As many proposals as were exported, and NMS within each pyramid level.
    faithful = LoweringRequest(proposals=sys.maxsize, across_levels=False)
    checks = checks.CHECKS

    # --- the graph

    def lowering(self, engine: str) -> LoweringChoice:
        """See `Backend`."""
        return LoweringChoice(Ascend())

    def session(self, network: Path, lowering: str) -> Session | None:
        """See `Backend`: the reference executor, in float32 and without what CANN's kernels change.

        What an NPU computes differently (docs/lowering.md) is not the lowering's error.
        """
        if not has_deform_conv():
            return None
        with tempfile.TemporaryDirectory(dir=network.parent) as folder:
            out = Path(folder) / network.name
            session = load_session(executable(network, out, "fp32", widen_thin=False))
        return Session(f"{session.runtime}, CANN's operators in standard ones", session.run)

    def accept(self, card: Card) -> None:
        """See `Backend`: atc supports CANN's operators, not onnxruntime's."""
        raise CascadeportError(
            f"The graph of '{card.name}' is already lowered for onnxruntime and cannot be lowered "
            "for Ascend.",
            where=f"card {card.name}: graph",
            next="Export the neutral graph from the checkpoint (docs/export.md).",
        )

    def conversion(
        self, context: Context, card: Card, shape: Shape, lowered: Stage, network: Path
    ) -> tuple[Stage, str]:
        """See `Backend`: an om file."""
        stage = convert.stage(context, card, shape, self.target, lowered, network)
        return stage, convert.NETWORK

    # --- the pass

    def runner(self, options: Options) -> dict[str, Any]:
        """See `Backend`."""
        own: dict[str, Any] = {"soc": self.target.soc}
        if len(self.target.devices) > 1 or self.target.devices != (0,):
            own["devices"] = list(self.target.devices)
        if options.bins:
            own["ais_infer"] = _AIS_INFER
        return {"name": "aclruntime", "options": own}

    def variant(self, options: Options) -> Variant:
        """See `Backend`: the pass through the vendor's tool and `.bin` files."""
        return Variant("bins", "by ais_infer") if options.bins else Variant()

    def command(self, options: Options) -> str:
        """See `Backend`."""
        return "bins-run" if options.bins else "run"

    # --- containers

    def variables(
        self, options: Options, environ: Mapping[str, str], machine: Machine | None
    ) -> dict[str, str]:
        """See `Backend`: the stand-ins' paths, or the group of the host's device nodes."""
        if options.simulate:
            return simulator.variables(self.target.soc)
        if "ASCEND_GID" in environ or machine is None or not machine.reachable:
            return {}
        group = host.group(machine)
        return {} if group is None else {"ASCEND_GID": group}

    def prepare(self, options: Options, service: Service, environ: Mapping[str, str]) -> None:
        """See `Backend`: builds the stand-ins, or checks for the vendor's packages."""
        if service.build is None or _CANN not in service.build.args:
            return
        if options.simulate:
            chips = len(self.target.devices)
            simulator.prepare(self.target.soc, chips, host.cann().version, environ)
        else:
            host.require_packages(environ, options.bins)

    def source_digests(self, options: Options) -> dict[str, str]:
        """See `Backend`."""
        return simulator.source_digests(self.target.soc) if options.simulate else {}

    def device_remedy(self, node: str) -> str:
        """See `Backend`."""
        return host.DEVICE_REMEDY
