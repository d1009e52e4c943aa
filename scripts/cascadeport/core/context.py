"""The context of one command about one target: its options, and what was read for it.

Configuration is read once, when the context is opened (`cascadeport.commands.opening`), and handed
down; nothing below reads targets.toml, hosts.toml or the environment again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cascadeport.base import architecture
from cascadeport.base.progress import Reporter
from cascadeport.config.hosts import Host
from cascadeport.config.options import Options
from cascadeport.config.targets import Target
from cascadeport.core.machine import Machine
from cascadeport.core.task import Engine


@dataclass(frozen=True)
class Context:
    """What a command knows.

    Args:
        options: The user's options.
        name: The target's name in targets.toml.
        target: Its row.
        targets: All rows, by name.
        engine: Where commands run.
        host: Where containers run; this machine for a local engine.
        variables: The environment, and what compose files are filled with.
        reporter: Tells the user what happens.
    """

    options: Options
    name: str
    target: Target
    targets: Mapping[str, Target]
    engine: Engine
    host: Host
    variables: Mapping[str, str]
    reporter: Reporter

    @property
    def machine(self) -> Machine:
        """The machine that the target's devices are in."""
        return Machine(self.host, self.variables.get("PATH", ""))

    @property
    def architecture(self) -> str:
        """The architecture that the target's containers run on."""
        asked = self.options.platform
        return architecture.of_platform(asked) if asked else self.machine.architecture

    @property
    def is_here(self) -> bool:
        """Whether the target's devices are this machine's."""
        return self.host.local
