"""Checks a target's host before a run: what is found, why it matters, what helps.

    cascadeport doctor --target 310P3 [--json]

Each check is a small object; none starts a container or writes a file.
"""

from __future__ import annotations

from collections.abc import Sequence

from cascadeport import backends
from cascadeport.base.errors import CascadeportError
from cascadeport.core.check import Check, Finding
from cascadeport.core.context import Context
from cascadeport.doctor import containers, data, export, host
from cascadeport.doctor.report import as_json, as_text, is_healthy

__all__ = ["Finding", "as_json", "as_text", "is_healthy", "require", "run_checks"]


def run_checks(context: Context) -> list[Finding]:
    """Runs every check that concerns a command's target."""
    return _run([*_surroundings(context), *export.CHECKS, *data.CHECKS], context)


def _surroundings(context: Context) -> list[Check]:
    # Devices come before the engine: what is missing there decides whether the rest matters.
    return [*host.CHECKS, *backends.of(context.target).checks, *containers.CHECKS]


def _run(checks: Sequence[Check], context: Context) -> list[Finding]:
    return [check.run(context) for check in checks if check.concerns(context)]


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
