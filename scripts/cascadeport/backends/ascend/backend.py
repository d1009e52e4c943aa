"""The backend of Ascend NPUs."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import onnx

from cascadeport.backends.ascend import (
    checks,
    cluster,
    convert,
    host,
    personalities,
    releases,
    simulator,
)
from cascadeport.backends.ascend.amct import Amct
from cascadeport.backends.ascend.lowering import Ascend
from cascadeport.backends.ascend.reference_executor import EXACT, RULES, executable, rules_of
from cascadeport.backends.ascend.releases import Release
from cascadeport.backends.ascend.standard_lowering import AscendStandard
from cascadeport.backends.ascend.target import AscendTarget
from cascadeport.base import architecture
from cascadeport.base.errors import CascadeportError
from cascadeport.config.cards import Card, Shape
from cascadeport.config.compose import Service
from cascadeport.config.options import Options
from cascadeport.core.backend import Backend, LoweringChoice
from cascadeport.core.cluster import PlugIn
from cascadeport.core.context import Context
from cascadeport.core.device import DeviceProof, DeviceState
from cascadeport.core.machine import Machine
from cascadeport.core.plan import Variant
from cascadeport.core.stage import Stage
from cascadeport.graph.editing import load, save
from cascadeport.graph.lowering import LoweringRequest
from cascadeport.graph.onnx_session import has_deform_conv, load_session
from cascadeport.graph.reshaping import at_shape
from cascadeport.graph.verify import Session

# The vendor's tool in the images.
_AIS_INFER = "/opt/ais_infer"
_STANDARD = AscendStandard.name
_CHIP = re.compile(r"/dev/davinci(\d+)")
# What drives /dev/null and the like, by the kernel's name (drivers/char/mem.c).
_NO_DEVICE = "mem"
# The build argument of every image that installs CANN.
_CANN = "CANN"


class AscendBackend(Backend[AscendTarget]):
    """Ascend chips through CANN; simulated, the same containers with a stand-in for it."""

    Row = AscendTarget
    supported = frozenset({"simulate", "personality", "bins", "cann_release", "lowering"})
    lowerings = (Ascend, AscendStandard)
    # As many proposals as were exported, and NMS within each pyramid level.
    faithful = LoweringRequest(proposals=sys.maxsize, across_levels=False)
    checks = checks.CHECKS

    # --- the graph

    def lowering(self, engine: str) -> LoweringChoice:
        """See `Backend`."""
        return LoweringChoice(AscendStandard() if self.target.lowering == _STANDARD else Ascend())

    def takes_gears(self, options: Options) -> bool:
        """See `Backend`: unless the row says no, or the vendor's tool runs a folder per shape."""
        return self.target.gears and not options.bins

    def session(self, network: Path, lowering: str) -> Session | None:
        """See `Backend`: the reference executor, in float32 and without what CANN's kernels change.

        What an NPU computes differently (docs/lowering.md) is not the lowering's error. Of a graph
        with gears it runs the one that atc would clone for the input's size.
        """
        if lowering == Ascend.name and not has_deform_conv():
            return None
        model = load(network)
        if all(side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim):
            session = _exact(model, network)
            return Session(f"{session.runtime}, {_STANDING_IN}", session.run)

        def run(inputs: Sequence[Any]) -> list[Any]:
            return [_exact(at_shape(model, one.shape[2:]), network).run([one])[0] for one in inputs]

        return Session(f"onnxruntime {metadata.version('onnxruntime')}, {_STANDING_IN}", run)

    def rules(self, variant: Variant) -> Mapping[str, str]:
        """See `Backend`: those of the reference executor that atc's precision mode asks for."""
        half = self.target.precision_mode in (None, "force_fp16", "allow_mix_precision")
        kept = rules_of("force_fp16" if half else "fp16") - {"levels"}
        if not _release_of(variant).kernels.thin_rois:
            kept -= {"thin"}
        return {name: clause for name, clause in RULES.items() if name in kept}

    def emulated(self, network: Path, out: Path, rules: Collection[str], variant: Variant) -> Path:
        """See `Backend`: the graph in the reference executor.

        What RoiExtractor does otherwise is one rule here: thin RoIs, and the choice of levels.
        """
        kernels = _release_of(variant).kernels
        beside = "thin" if kernels.thin_rois else "nms"
        wanted = {*rules, *(["levels"] if beside in rules else [])}
        return executable(network, out, "force_fp16", kernels, rules=wanted)

    def quantiser(self, lowering: str) -> str:
        """See `Backend`: the vendor's AMCT, which nobody here can run."""
        raise CascadeportError(
            "On Ascend the vendor's AMCT quantises, and it does not run here.",
            where="--precision int8",
            next="The command `quantise` prepares its input files (docs/int8.md).",
        )

    @property
    def foreign_quantiser(self) -> Amct:
        """See `Backend`."""
        return Amct()

    def accept(self, card: Card) -> None:
        """See `Backend`: atc supports CANN's operators, not onnxruntime's."""
        raise CascadeportError(
            f"The graph of '{card.name}' is already lowered for onnxruntime and cannot be lowered "
            "for Ascend.",
            where=f"card {card.name}: graph",
            next="Export the neutral graph from the checkpoint (docs/export.md).",
        )

    def conversion(
        self, context: Context, card: Card, shape: Shape | None, lowered: Stage, network: Path
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
        """See `Backend`; also another release, and the pass through the vendor's tool."""
        if options.personality is not None and not options.simulate:
            raise CascadeportError(
                "--personality says what the stand-in for CANN is like, and this run has none.",
                where=f"--personality {options.personality}",
                next="Add --simulate, or leave it out.",
            )
        cann = self.cann(options)
        release = Variant(f"cann-{cann.name}", f"CANN {cann.name}")
        bins = Variant("bins", "by ais_infer") if options.bins else Variant()
        return (
            super()
            .variant(options)
            .also(Variant() if cann is releases.default() else release)
            .also(bins)
        )

    def devices(self, context: Context) -> tuple[str, ...]:
        """See `Backend`: the chips' nodes; a simulated pass measures nothing."""
        if context.options.simulate:
            return ()
        nodes = [
            context.variables.get(f"DAVINCI{chip}", f"/dev/davinci{chip}")
            for chip in self.target.devices
        ]
        return tuple(Path(node).name for node in nodes)

    def device_states(self, context: Context) -> list[DeviceState]:
        """See `Backend`."""
        if context.options.simulate or not context.machine.reachable:
            return []
        return checks.states(context)

    def unproved(self, proof: DeviceProof) -> str | None:
        """See `Backend`: the row's chip by CANN's own name, behind a node that a driver drives."""
        if proof.kind != "npu":
            return f"{proof.name}, a device of kind {proof.kind}, ran the network, not an NPU"
        if str(proof.name).casefold() != self.target.soc.casefold():
            return (
                f"{proof.by} calls the chip {proof.name}, the target is {self.target.soc}: "
                "another chip, or a stand-in for one"
            )
        if proof.node == _NO_DEVICE:
            return f"the kernel's `{proof.node}` is behind a node of {proof.name}: a stand-in"
        return None

    def command(self, options: Options) -> str:
        """See `Backend`."""
        return "bins-run" if options.bins else "run"

    # --- containers

    def variables(
        self, options: Options, environ: Mapping[str, str], machine: Machine | None
    ) -> dict[str, str]:
        """See `Backend`: the stand-ins' paths, or the group of the host's device nodes."""
        found = self._image_variables(options, environ)
        if options.simulate:
            return {**found, **simulator.variables(self._stand_in(options))}
        if "ASCEND_GID" in environ or machine is None or not machine.reachable:
            return found
        group = host.group(machine)
        return found if group is None else {**found, "ASCEND_GID": group}

    def image(self, options: Options) -> str:
        """See `Backend`: that of the release that the user chose."""
        return self.cann(options).image(self.target.image)

    def _image_variables(self, options: Options, environ: Mapping[str, str]) -> dict[str, str]:
        """What says how to build the image of another release than the default."""
        cann, image = self.cann(options), self.image(options)
        if cann is releases.default():
            return {}
        given = {"ASCEND_IMAGE": image, "CANN_VERSION": cann.name, "BASE_IMAGE": cann.base}
        if options.simulate and cann.is_in_its_base:
            given |= {"CANN_FROM": "stand-in", "BASE_IMAGE": f"python:{cann.python}-slim-bookworm"}
        if "BASE_IMAGE" in environ:
            del given["BASE_IMAGE"]
        return given

    def cann(self, options: Options) -> Release:
        """The release of CANN that the user chose.

        Raises:
            CascadeportError: There is none of that name.
        """
        return releases.find(options.cann_release)

    def _stand_in(self, options: Options) -> simulator.StandIn:
        revision = personalities.name(options.personality)
        return simulator.StandIn(
            self.target.soc, len(self.target.devices), self.cann(options), revision
        )

    def prepare(self, options: Options, service: Service, environ: Mapping[str, str]) -> None:
        """See `Backend`: builds the stand-ins, or checks for the vendor's packages."""
        if service.build is None or _CANN not in service.build.args:
            return
        if options.simulate:
            _refuse_other_machines(environ)
            simulator.prepare(self._stand_in(options), environ)
        else:
            host.require_packages(environ, self.cann(options), options.bins)

    def source_digests(self, options: Options) -> dict[str, str]:
        """See `Backend`."""
        return simulator.source_digests(self._stand_in(options)) if options.simulate else {}

    def plug_in(self, service: Service, options: Options) -> PlugIn | None:
        """See `Backend`."""
        return None if options.simulate else cluster.plug_in(self.target.soc, service)

    def devices_by_runtime(self, service: Service) -> dict[str, str] | None:
        """See `Backend`: the Ascend Docker Runtime hands in the chips that a variable names."""
        found = [_CHIP.fullmatch(device.split(":")[-1]) for device in service.devices]
        chips = [match.group(1) for match in found if match is not None]
        return {"ASCEND_VISIBLE_DEVICES": ",".join(chips)}

    def device_remedy(self, node: str) -> str:
        """See `Backend`."""
        return host.DEVICE_REMEDY


def _release_of(variant: Variant) -> Release:
    """The release of CANN that a pass ran on, by its variant's name."""
    found = [one for one in releases.every() if f"cann-{one.name}" in variant.name]
    return max(found, key=lambda one: len(one.name), default=releases.default())


def _refuse_other_machines(variables: Mapping[str, str]) -> None:
    wanted, own = architecture.of(variables), architecture.of_platform(None)
    if wanted != own:
        raise CascadeportError(
            f"The stand-in for CANN runs on this machine's {own} only, and {wanted} was asked for.",
            where="--simulate --platform",
            next="Leave --platform out.",
        )


_STANDING_IN = "CANN's operators in standard ones"


def _exact(model: onnx.ModelProto, network: Path) -> Session:
    """A graph of one size in the reference executor; its files are beside the network."""
    with tempfile.TemporaryDirectory(dir=network.parent) as folder:
        graph = Path(folder) / "graph.onnx"
        save(model, graph)
        return load_session(executable(graph, Path(folder) / network.name, "fp32", EXACT))
