"""The doctor's findings, for people and for programs."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cascadeport.base.text import shown
from cascadeport.core.check import Finding
from cascadeport.core.context import Context
from cascadeport.doctor import facts

#: The format of `doctor --json`.
FORMAT = 2


def is_healthy(findings: Sequence[Finding]) -> bool:
    """Whether a run may start."""
    return all(finding.status != "fail" for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """The findings for people, in their groups."""
    lines: list[str] = []
    group = ""
    for finding in findings:
        if finding.group != group:
            group = finding.group
            lines.append(f"{group}:")
        lines.append(f"{finding.status:<5} {finding.check:<12} {finding.finding}")
        if finding.reason:
            lines.append(f"{'':<18} why:  {finding.reason}")
        if finding.remedy:
            lines.append(f"{'':<18} fix:  {finding.remedy}")
    return "\n".join(shown(line) for line in lines)


def as_values(findings: Sequence[Finding], context: Context) -> dict[str, Any]:
    """The report of a host: its findings, and facts that no check judges."""
    return {
        "format": FORMAT,
        "host": platform.node() if context.is_here else context.machine.name,
        "target": context.name,
        "when": facts.now(),
        "healthy": is_healthy(findings),
        "findings": [asdict(finding) for finding in findings],
        "facts": facts.collect(context),
    }


def as_json(values: dict[str, Any]) -> str:
    """The report for programs, and for `doctor --against` on another host."""
    return json.dumps(values, indent=1, ensure_ascii=False)
