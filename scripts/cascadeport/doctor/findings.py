"""What a check is, what it is given, and what it finds."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from cascadeport.engines import compose, hosts
from cascadeport.engines.place import Place
from cascadeport.errors import CascadeportError
from cascadeport.options import REPOSITORY, Options
from cascadeport.targets import Target

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Args:
        check: Its name.
        status: `warn` lets a run go on; `fail` does not.
        finding: What was seen, a sentence.
        reason: Why it matters; empty when all is well.
        remedy: What to do about it; empty when all is well.
    """

    check: str
    status: Status
    finding: str
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Context:
    """What the checks look at.

    Args:
        engine: "local" or "docker".
        host: Where containers run.
        service: The compose service of the pass; None when commands run on this machine.
        variables: The environment, and what compose files are filled with.
    """

    name: str
    target: Target
    options: Options
    engine: str
    host: hosts.Host
    service: compose.Service | None
    variables: Mapping[str, str]

    @classmethod
    def of(cls, name: str, target: Target, options: Options) -> Context:
        """The surroundings of a target's run."""
        engine = options.engine or target.engine
        host = hosts.Host()
        service = None
        variables: Mapping[str, str] = dict(os.environ)
        if engine == "docker":
            from cascadeport.engines import docker

            host = hosts.find(name, hosts.load(REPOSITORY / hosts.FILE))
            variables = docker.variables_of(options, os.environ, host)
            service, _ = docker.service_of("infer", target, variables)
        return cls(name, target, options, engine, host, service, variables)

    @property
    def ascend(self) -> bool:
        """Whether the target is an NPU."""
        return self.target.runner.name == "aclruntime"

    @property
    def here(self) -> bool:
        """Whether the target's devices are this machine's."""
        return self.host.local

    @property
    def place(self) -> Place:
        """The machine that the target's devices are in."""
        return Place(self.host, self.variables.get("PATH", os.defpath))


@dataclass(frozen=True)
class Check:
    """One check: its name, whom it concerns, and how it looks."""

    name: str
    concerns: Callable[[Context], bool]
    look: Callable[[Context], Finding]

    def run(self, context: Context) -> Finding:
        """Looks; a check that cannot be carried out is a failure with its reason."""
        try:
            return self.look(context)
        except CascadeportError as error:
            where = f" ({error.where})" if error.where else ""
            faults = "".join(f"; {fault}" for fault in error.faults)
            return Finding(self.name, "fail", f"{error.what}{where}{faults}", remedy=error.next)


def elsewhere(context: Context) -> Finding:
    """What is said instead of looking, where nobody can look from here."""
    return Finding(
        "devices",
        "warn",
        f"Devices and driver were not looked at: {context.host.host} runs no commands for us.",
        reason="An engine's tcp port builds and runs containers, and nothing else.",
        remedy=f"Run `cascadeport doctor --target {context.name}` on that machine, or give it as "
        "ssh:// in hosts.toml.",
    )


def idle(others: Sequence[str]) -> Finding:
    """Whether anybody else uses the device: `others` names who does."""
    if not others:
        return Finding("idle", "ok", "Nobody else uses the device.")
    return Finding(
        "idle",
        "warn",
        f"Others use the device: {', '.join(others)}.",
        reason="What is measured beside other work is INVALID.",
        remedy="Stop them, or wait until they are done.",
    )


def healthy(findings: Sequence[Finding]) -> bool:
    """Whether a run may start."""
    return all(finding.status != "fail" for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """The findings for people."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.status:<5} {finding.check:<12} {finding.finding}")
        if finding.reason:
            lines.append(f"{'':<18} why:  {finding.reason}")
        if finding.remedy:
            lines.append(f"{'':<18} help: {finding.remedy}")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """The findings for programs."""
    return json.dumps(
        {
            "format": 1,
            "healthy": healthy(findings),
            "findings": [asdict(finding) for finding in findings],
        },
        indent=1,
        ensure_ascii=False,
    )


def existing_parent(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    while not path.exists():
        path = path.parent
    return path
