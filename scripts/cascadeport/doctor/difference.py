"""Two hosts side by side: what differs between the one where it works and the one where not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cascadeport.base.errors import CascadeportError
from cascadeport.base.reading import read_record
from cascadeport.base.text import shown
from cascadeport.doctor.report import FORMAT

_ABSENT = "-"


@dataclass(frozen=True)
class Difference:
    """Something that is one way here and another way there.

    Args:
        group: The group of the check or fact.
        name: Its name.
        here: What was found here; `-`: nothing.
        there: What was found there.
        weight: 0: a check that fails here and not there, or the other way round; 1: a check that
            found something else; 2: a fact that no check judges.
    """

    group: str
    name: str
    here: str
    there: str
    weight: int


def read(path: Path) -> dict[str, Any]:
    """A report that `doctor --json` wrote on another host.

    Raises:
        CascadeportError: It is not one.
    """
    remedy = "Write it there with `cascadeport doctor --target NAME --json > other.json`."
    report = read_record(path, "other host's report", next=remedy)
    findings, facts = report.get("findings"), report.get("facts")
    whole = isinstance(findings, list) and all(
        isinstance(one, dict) and {"check", "status", "finding"} <= one.keys() for one in findings
    )
    if report.get("format") != FORMAT or not whole or not isinstance(facts, dict):
        raise CascadeportError(
            f"This is no report of the doctor's in format {FORMAT}.", where=str(path), next=remedy
        )
    return report


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[Difference]:
    """What differs, what matters most first.

    Args:
        here: This host's report, as `report.as_values` gives it.
        there: The other's.
    """
    found = [*_findings(here, there), *_facts(here["facts"], there["facts"])]
    return sorted(found, key=lambda one: one.weight)


def _findings(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Difference]:
    ours, others = _by_check(here), _by_check(there)
    for name in dict.fromkeys((*ours, *others)):
        one, other = ours.get(name), others.get(name)
        if one is not None and other is not None and _said(one) == _said(other):
            continue
        group = str((one or other or {}).get("group", ""))
        failed = [each is not None and each["status"] == "fail" for each in (one, other)]
        yield Difference(group, name, _said(one), _said(other), 0 if failed[0] != failed[1] else 1)


def _by_check(report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {str(one["check"]): one for one in report["findings"]}


def _said(finding: Mapping[str, Any] | None) -> str:
    return f"{finding['status']}: {finding['finding']}" if finding is not None else _ABSENT


def _facts(here: Mapping[str, Any], there: Mapping[str, Any]) -> Iterator[Difference]:
    for group in dict.fromkeys((*here, *there)):
        ours, others = (_group(facts, group) for facts in (here, there))
        for name in dict.fromkeys((*ours, *others)):
            one, other = str(ours.get(name, _ABSENT)), str(others.get(name, _ABSENT))
            if one != other:
                yield Difference(group, name, one, other, 2)


def _group(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    group = facts.get(name)
    return group if isinstance(group, dict) else {}


def as_text(
    found: list[Difference], here: Mapping[str, Any], there: Mapping[str, Any], path: Path
) -> str:
    """The differences for people."""
    lines = [f"here     {here['host']}, target {here['target']}, {here['when']}"]
    other = [str(there.get(key, "?")) for key in ("host", "target", "when")]
    lines.append(f"there    {other[0]}, target {other[1]}, {other[2]} ({path})")
    if here["target"] != there.get("target"):
        lines.append("note     These are reports about different targets.")
    titles = ("passes on one of them only:", "checked on both:", "what no check judges:")
    for weight, title in enumerate(titles):
        chosen = [one for one in found if one.weight == weight]
        if chosen:
            lines += ["", title]
        for one in chosen:
            lines.append(f"  {one.group} / {one.name}")
            lines += [f"      here   {one.here}", f"      there  {one.there}"]
    if not found:
        lines += ["", "Nothing differs."]
    return "\n".join(shown(line) for line in lines)


def as_json(found: list[Difference]) -> str:
    """The differences for programs."""
    return json.dumps(
        {"format": FORMAT, "differences": [asdict(one) for one in found]},
        indent=1,
        ensure_ascii=False,
    )
