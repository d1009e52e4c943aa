"""The protocol of a backend: everything that is particular to one family of devices.

A backend is a folder below `cascadeport/backends/` whose `__init__.py` names its class as
`BACKEND`; a row of targets.toml names the folder. Whoever needs something particular asks the
backend of the target's row, and never for the backend's name. docs/add-a-target.md shows how to
add one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from cascadeport.base.errors import CascadeportError
from cascadeport.config.cards import Card, Shape
from cascadeport.config.compose import Service
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.check import Check
from cascadeport.core.context import Context
from cascadeport.core.environment import PythonEnvironment
from cascadeport.core.machine import Machine
from cascadeport.core.plan import Variant
from cascadeport.core.stage import Stage
from cascadeport.graph.lowering import Lowering, LoweringRequest
from cascadeport.graph.verify import Session

RowT = TypeVar("RowT", bound=Target)


@dataclass(frozen=True)
class LoweringChoice:
    """The lowering that a target's runtime takes.

    Args:
        lowering: The lowering.
        notes: What has to be said about the choice, in sentences.
    """

    lowering: Lowering
    notes: tuple[str, ...] = ()


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
        """The lowering that its runtime takes.

        Args:
            engine: `local` or `docker`: an image has a runtime of its own.
        """

    def session(self, network: Path, lowering: str) -> Session | None:
        """Loads a graph lowered as `faithful` says on this machine, to verify it against PyTorch.

        Returns:
            None: only the device runs such a graph.
        """
        return None

    def accept(self, card: Card) -> None:
        """Looks at a card whose graph is ready and will not be lowered.

        Raises:
            CascadeportError: Its runtime cannot run such a graph.
        """

    def conversion(
        self, context: Context, card: Card, shape: Shape, lowered: Stage, network: Path
    ) -> tuple[Stage, str] | None:
        """The stage that makes the device's own format of a lowered graph, and the file in it.

        Args:
            shape: The network's input, rows and columns.
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
        return Variant()

    def command(self, options: Options) -> str:
        """The bundle's command that runs a job."""
        return "run"

    @property
    def environment(self) -> PythonEnvironment | None:
        """The environment that runs the bundle for a local engine; None: the orchestrator's."""
        return None

    def versions(self) -> dict[str, str]:
        """Versions of its packages on this machine, which the result of a local run depends on."""
        return {}

    # --- containers

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

    def device_remedy(self, node: str) -> str:
        """What to do when a device node is missing; empty: nothing particular is known."""
        return ""

    def refusal(self, text: str, address: str) -> CascadeportError | None:
        """What a Docker Engine's refusal means; None: nothing particular."""
        return None
