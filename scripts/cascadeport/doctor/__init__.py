"""Looks at a target's surroundings before a run: what is found, why it matters, what helps.

    cascadeport doctor --target 310P3 [--json]

Each check is a small object; none starts a container or writes a file.
"""

from __future__ import annotations

from cascadeport.doctor import data, engine, export, host, npu, nvidia
from cascadeport.doctor.findings import Check, Context, Finding, as_json, as_text, healthy
from cascadeport.errors import CascadeportError
from cascadeport.options import Options
from cascadeport.targets import Target

__all__ = ["Finding", "as_json", "as_text", "busy", "healthy", "require", "run_checks"]

# Devices come before the engine: what is missing there decides whether the rest matters.
SURROUNDINGS: tuple[Check, ...] = (
    *host.CHECKS,
    *npu.CHECKS,
    *nvidia.CHECKS,
    *engine.CHECKS,
)
CHECKS: tuple[Check, ...] = (*SURROUNDINGS, *export.CHECKS, *data.CHECKS)


def run_checks(name: str, target: Target, options: Options) -> list[Finding]:
    """Runs every check that concerns a target.

    Args:
        name: The target's name in targets.toml.
        target: The target.
        options: What the run will be asked to do.
    """
    return _run(CHECKS, name, target, options)


def _run(checks: tuple[Check, ...], name: str, target: Target, options: Options) -> list[Finding]:
    context = Context.of(name, target, options)
    return [check.run(context) for check in checks if check.concerns(context)]


def busy(name: str, target: Target, options: Options) -> list[str]:
    """Who else uses the target's device at this moment, a sentence each; empty when nobody does."""
    found = _run((*npu.CHECKS, *nvidia.CHECKS), name, target, options)
    return [one.finding for one in found if one.check == "idle" and one.status != "ok"]


def require(name: str, target: Target, options: Options) -> list[Finding]:
    """Runs the checks of the surroundings and refuses to go on when one fails.

    The data set is left to the plan, which reads it anyway and tells all its faults.

    Raises:
        CascadeportError: With every failure and its remedy.
    """
    findings = _run(SURROUNDINGS, name, target, options)
    failed = [finding for finding in findings if finding.status == "fail"]
    if failed:
        count = "1 thing is" if len(failed) == 1 else f"{len(failed)} things are"
        raise CascadeportError(
            f"Target {name} cannot run here: {count} missing.",
            faults=[f"{f.check}: {f.finding} {f.remedy}".strip() for f in failed],
            next=f"`cascadeport doctor --target {name}` shows every check.",
        )
    return findings
