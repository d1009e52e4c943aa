"""Checks a target's host before a run: what is found, why it matters, what helps.

    cascadeport doctor --target 310P3 [--json] [--against other.json] [--fix]

Each check is a small object; none starts a container or writes a file. Only `--fix` changes
anything, and says what.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.core.check import Check, Finding
from cascadeport.core.context import Context
from cascadeport.doctor import containers, data, export, host
from cascadeport.doctor.report import as_json, as_text, as_values, is_healthy

__all__ = [
    "Finding",
    "as_json",
    "as_text",
    "as_values",
    "is_healthy",
    "repair",
    "require",
    "run_checks",
]

# A group's name and its checks.
Group = tuple[str, Sequence[Check]]


def run_checks(context: Context) -> list[Finding]:
    """Runs every check that concerns a command's target."""
    return _run(_every(context), context)


def repair(context: Context) -> Iterator[str]:
    """Repairs what can be repaired without risk; what was done, a sentence each."""
    for _, checks in _every(context):
        for check in checks:
            if check.repair is None or not check.concerns(context):
                continue
            if check.run(context).status != "ok":
                yield f"{check.name}: {check.repair(context)}"


def _every(context: Context) -> list[Group]:
    return [
        ("machine", (*host.CHECKS, *host.OWN)),
        *_surroundings(context)[1:],
        ("containers", containers.TIDINESS),
        ("export", export.CHECKS),
        ("data", data.CHECKS),
    ]


def _surroundings(context: Context) -> list[Group]:
    # Devices come before the engine: what is missing there decides whether the rest matters. Those
    # of a swarm are in its nodes, and what their schedulers know of them is all that can be asked.
    return [
        ("machine", host.CHECKS),
        ("device", () if context.engine.spread else backends.of(context.target).checks),
        ("containers", containers.CHECKS),
    ]


def _run(groups: Sequence[Group], context: Context) -> list[Finding]:
    return [
        replace(check.run(context), group=name)
        for name, checks in groups
        for check in checks
        if check.concerns(context)
    ]


def require(context: Context) -> list[Finding]:
    """Runs the checks of the host and refuses to go on when one fails.

    The data set is left to the plan, which reads it anyway and reports all its errors.

    Raises:
        CascadeportError: With every failure and its remedy.
    """
    findings = _run(_surroundings(context), context)
    failed = [finding for finding in findings if finding.status == "fail"]
    if failed:
        count = "1 check failed" if len(failed) == 1 else f"{len(failed)} checks failed"
        raise CascadeportError(
            f"Target {context.name} cannot run here: {count}.",
            details=[f"{f.check}: {f.finding} {f.remedy}".strip() for f in failed],
            next=f"`cascadeport doctor --target {context.name}` shows every check.",
        )
    return findings
