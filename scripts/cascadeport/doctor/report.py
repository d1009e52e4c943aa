"""The doctor's findings, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from cascadeport.base.text import shown
from cascadeport.core.check import Finding


def is_healthy(findings: Sequence[Finding]) -> bool:
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
            lines.append(f"{'':<18} fix:  {finding.remedy}")
    return "\n".join(shown(line) for line in lines)


def as_json(findings: Sequence[Finding]) -> str:
    """The findings for programs."""
    return json.dumps(
        {
            "format": 1,
            "healthy": is_healthy(findings),
            "findings": [asdict(finding) for finding in findings],
        },
        indent=1,
        ensure_ascii=False,
    )
