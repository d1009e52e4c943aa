"""The protocol of a backend: everything that is particular to one family of devices.

A backend is a folder below `cascadeport/backends/` whose `__init__.py` names its class as
`BACKEND`; a row of targets.toml names the folder. Whoever needs something particular asks the
backend of the target's row, and never for the backend's name. docs/add-a-target.md shows how to
add one.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

from cascadeport.base.errors import CascadeportError
from cascadeport.base.suggest import suggest
from cascadeport.config import frames
from cascadeport.config.cards import Card, Shape
from cascadeport.config.compose import Service
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.check import Check
from cascadeport.core.cluster import PlugIn
from cascadeport.core.context import Context
from cascadeport.core.device import DeviceProof, DeviceState
from cascadeport.core.environment import PythonEnvironment
from cascadeport.core.machine import Machine
from cascadeport.core.plan import Variant
from cascadeport.core.stage import Stage
from cascadeport.graph.lowering import Lowering, LoweringRequest
from cascadeport.graph.verify import Session

#: Computes values inside a graph: takes its input and their names, gives those that there are.
Inside = Callable[[NDArray[Any], Sequence[str]], dict[str, NDArray[Any]]]

RowT = TypeVar("RowT", bound=Target)


# How titles say where a pass ran that did not run where its target usually does.
_PLACES = {"local": "on this machine", "docker": "in a container", "swarm": "on a swarm"}


@dataclass(frozen=True)
class LoweringChoice:
    """The lowering that a target's runtime takes.

    Args:
        lowering: The lowering.
        notes: What has to be said about the choice, in sentences.
    """

    lowering: Lowering
    notes: tuple[str, ...] = ()


class ForeignQuantiser(ABC):
    """A tool that quantises and that no part of this project runs: its input files are prepared.

    Attributes:
        name: Its name.
        lowering: What makes a graph that it can read and run.
    """

    name: ClassVar[str]
    lowering: ClassVar[Lowering]

    @abstractmethod
    def write(
        self, folder: Path, graph: Path, int8: Collection[str], inputs: Sequence[Path]
    ) -> None:
        """Writes what the tool takes besides the graph.

        Args:
            folder: Where; the graph is there already.
            graph: The graph, lowered by `lowering`.
            int8: The names of the layers that may be int8; all others stay in float.
            inputs: The calibration inputs, files of float32 (1,3,H,W), .npy.
        """


class Backend(ABC, Generic[RowT]):
    """One family of devices, for one row of targets.toml.

    Attributes:
        Row: The schema of its rows: the keys that every target has, and its own.
        supported: The names of options that are not for every target and that it understands.
        checks: What the doctor looks at for its targets.
        lowerings: Every lowering that it has.
        faithful: The request for a lowering that changes the graph's meaning as little as it can,
            to verify it.
    """

    Row: ClassVar[type[Target]] = Target
    supported: ClassVar[frozenset[str]] = frozenset()
    checks: ClassVar[Sequence[Check]] = ()
    lowerings: ClassVar[Sequence[type[Lowering]]] = ()
    faithful: ClassVar[LoweringRequest] = LoweringRequest()

    def __init__(self, target: RowT) -> None:
        self.target = target

    # --- the graph

    @abstractmethod
    def lowering(self, engine: str) -> LoweringChoice:
        """The lowering that its runtime takes, unless the user asks for another.

        Args:
            engine: `local`, else a container's: an image has a runtime of its own.
        """

    def chosen_lowering(self, options: Options, engine: str) -> LoweringChoice:
        """The lowering that the user asks for, else the runtime's own.

        Raises:
            CascadeportError: The backend has no such lowering.
        """
        if options.lowering is None:
            return self.lowering(engine)
        known = {kind.name: kind for kind in self.lowerings}
        if options.lowering not in known:
            raise CascadeportError(
                f"'{options.target}' has no lowering '{options.lowering}'; "
                f"{suggest(options.lowering, known)}.",
                where=f"--lowering {options.lowering}",
                next=f"Known: {', '.join(known)}.",
            )
        return LoweringChoice(known[options.lowering]())

    def takes_gears(self, options: Options) -> bool:
        """Whether its device takes one network of several known shapes, where a lowering has it."""
        return False

    def session(self, network: Path, lowering: str) -> Session | None:
        """Loads a graph lowered as `faithful` says on this machine, to verify it against PyTorch.

        Returns:
            None: only the device runs such a graph.
        """
        return None

    def rules(self, variant: Variant) -> Mapping[str, str]:
        """What its device computes otherwise than the lowered graph says.

        Args:
            variant: How the pass differed from the target's usual one.

        Returns:
            A clause for each rule, by its name. Each rule can be left out of `emulated`.
        """
        return {}

    def emulated(self, network: Path, out: Path, rules: Collection[str], variant: Variant) -> Path:
        """A graph for onnxruntime on this machine that computes what the device does.

        Args:
            network: The lowered graph.
            out: A file to write, if it is not that graph itself.
            rules: Which of its rules apply.
            variant: How the pass differed from the target's usual one.

        Returns:
            The graph.
        """
        return network

    def values(self, network: Path) -> Inside | None:
        """Looks into a lowered graph as its own runtime on this machine computes it.

        Returns:
            None: there is no such runtime here; what `emulated` writes stands for it.
        """
        return None

    def quantiser(self, lowering: str) -> str:
        """The tool that quantises a lowered graph to int8 for its runtime: a name that
        `cascadeport.quantise.tool` knows.

        Args:
            lowering: The name of the lowering that makes the graph.

        Raises:
            CascadeportError: Its runtime gains nothing by int8, or another tool makes it.
        """
        raise CascadeportError(
            "This target has no int8.",
            where="--precision int8",
            next="Leave it out, or use a target on a CPU.",
        )

    @property
    def foreign_quantiser(self) -> ForeignQuantiser | None:
        """The vendor's tool that quantises for its device, if that does not run here."""
        return None

    def accept(self, card: Card) -> None:
        """Looks at a card whose graph is ready and will not be lowered.

        Raises:
            CascadeportError: Its runtime cannot run such a graph.
        """

    def conversion(
        self, context: Context, card: Card, shape: Shape | None, lowered: Stage, network: Path
    ) -> tuple[Stage, str] | None:
        """The stage that makes the device's own format of a lowered graph, and the file in it.

        Args:
            shape: The network's input, rows and columns; None: it takes all of the card's.
            lowered: The stage that makes the graph.
            network: The graph.

        Returns:
            None: the device takes the lowered graph as it is.
        """
        return None

    # --- the pass

    @abstractmethod
    def runner(self, options: Options) -> dict[str, Any]:
        """The job's `runner` without its threads: `name`, `options`, and `provider` if any."""

    def variant(self, options: Options) -> Variant:
        """Whether the options ask for another way of running than the usual one."""
        engine = options.engine or self.target.engine
        found = Variant(frames.name(options), frames.title(options))
        if options.lowering not in (None, self.lowering(engine).lowering.name):
            found = Variant(str(options.lowering), f"lowering {options.lowering}").also(found)
        found = found.also(self.calibrated(options))
        if options.threads is not None:
            found = found.also(Variant(f"threads{options.threads}", _threads(options.threads)))
        if engine != self.target.engine:
            found = found.also(Variant(engine, _PLACES[engine]))
        streams = self.streams(options)
        if streams is not None:
            number = "streams chosen by measuring" if streams == "auto" else f"{streams} streams"
            found = found.also(Variant(f"streams-{streams}", number))
        if self.pictures(options) > 1:
            found = found.also(Variant(f"batch-{options.batch}", f"batch {options.batch}"))
        if options.shards is not None:
            found = found.also(Variant(f"shards{options.shards}", f"{options.shards} shards"))
        return found

    def calibrated(self, options: Options) -> Variant:
        """Whether int8 is calibrated on other pictures than those that the data set names."""
        if options.calibration is None:
            return Variant()
        name = Path(options.calibration).name
        short = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()
        return Variant(f"calibrated-{short}", f"calibrated on {name}")

    def varies(self, options: Options) -> Mapping[str, Sequence[Any]]:
        """The options along which `tune` may vary a recipe of its targets (tune/space.py).

        Returns:
            By the option's name the values that its targets have; empty: those of the axis.
        """
        shapes = ["auto:2", "auto:4"]
        if self.chosen_lowering(options, options.engine or self.target.engine).lowering.any_shape:
            shapes.append("own")
        return {
            "proposals": (),
            "nms_levels": ("within", "across"),
            "shapes": shapes,
            "resize": (),
            **({"threads": (), "streams": ()} if self.is_processor else {}),
            **({"batch": ()} if "batch" in self.supported else {}),
        }

    @property
    def is_processor(self) -> bool:
        """Whether a processor runs the networks: only there can streams share its cores."""
        return False

    def pictures(self, options: Options) -> int:
        """How many pictures a network takes at once."""
        return options.batch or 1

    def streams(self, options: Options) -> int | str | None:
        """How many pictures the device works on at once; None: one, or what it does by itself.

        Raises:
            CascadeportError: The device is no processor.
        """
        if options.streams in (None, 1):
            return None
        if not self.is_processor:
            raise CascadeportError(
                f"The device of '{options.target}' takes one picture after the other.",
                where=f"--streams {options.streams}",
                next="Leave --streams out; it is for CPUs.",
            )
        return options.streams

    def command(self, options: Options) -> str:
        """The bundle's command that runs a job."""
        return "run"

    def devices(self, context: Context) -> tuple[str, ...]:
        """What a pass measures on, by names that are the same in every run on the machine.

        Runs that measure on one of them take turns. Empty: nothing is measured.
        """
        return ("processor",)

    def device_states(self, context: Context) -> list[DeviceState]:
        """How the pass's devices are at this moment; empty where no tool tells.

        Raises:
            CascadeportError: The tool does not answer.
        """
        return []

    def unproved(self, proof: DeviceProof) -> str | None:
        """Why a device that ran a measured pass is not one of its target's, as a clause.

        Args:
            proof: What its runner learnt of it; it has a name.

        Returns:
            None: it is one.
        """
        return unless_processor(proof)

    @property
    def environment(self) -> PythonEnvironment | None:
        """The environment that runs the bundle for a local engine; None: the orchestrator's."""
        return None

    def versions(self) -> dict[str, str]:
        """Versions of its packages on this machine, which the result of a local run depends on."""
        return {}

    # --- containers

    def image(self, options: Options) -> str:
        """The folder in images/ that its image is built from."""
        return self.target.image

    def variables(
        self, options: Options, environ: Mapping[str, str], machine: Machine | None
    ) -> dict[str, str]:
        """Values for the variables of its compose files.

        Args:
            environ: The environment, with what is set there.
            machine: The machine with the devices; None while only a plan is made.
        """
        return {}

    def prepare(self, options: Options, service: Service, environ: Mapping[str, str]) -> None:
        """Provides what a service's image is built from.

        Args:
            service: The service whose image is to be built.

        Raises:
            CascadeportError: Something that only the user can provide is missing.
        """

    def source_digests(self, options: Options) -> dict[str, str]:
        """Digests of folders that images are built from and that `prepare` makes later."""
        return {}

    def plug_in(self, service: Service, options: Options) -> PlugIn | None:
        """The device plug-in by which a Kubernetes cluster hands out what a service declares.

        Args:
            service: The service that runs the bundle, its variables filled.

        Returns:
            None: it needs no device, or a stand-in for one.
        """
        return None

    def devices_by_runtime(self, service: Service) -> dict[str, str] | None:
        """How the container runtime of a node hands out devices that a scheduler cannot map.

        Args:
            service: The service that declares them.

        Returns:
            The environment that asks for them; None: there is no such runtime.
        """
        return None

    def device_remedy(self, node: str) -> str:
        """What to do when a device node is missing; empty: nothing particular is known."""
        return ""

    def refusal(self, text: str, address: str) -> CascadeportError | None:
        """What a Docker Engine's refusal means; None: nothing particular."""
        return None


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def unless_processor(proof: DeviceProof) -> str | None:
    """Why a device is not a processor; None: it is one."""
    if proof.kind == "processor":
        return None
    return f"{proof.name}, a device of kind {proof.kind}, ran the network, not a processor"
