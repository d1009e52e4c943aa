"""JUnit XML for build servers: a test case for every check of the gate, and for every change."""

from __future__ import annotations

from xml.etree import ElementTree

from cascadeport.base.text import printable
from cascadeport.results.comparison import Check, Comparison, Row
from cascadeport.results.history.against import Against
from cascadeport.results.history.changes import Change


def document(table: Comparison, against: Against | None = None) -> str:
    """The document; equal comparisons give equal bytes.

    A check that fails is a `failure`, one that cannot be decided an `error`. Compared with an
    earlier run, what fails and is no worse than there, or has a reason, is `skipped`.

    Args:
        table: The comparison.
        against: What changed since an earlier run.
    """
    model, data = str(table.model.get("name", "")), str(table.dataset.get("name", ""))
    root = ElementTree.Element("testsuites", name=_text(f"cascadeport {model} on {data}"))
    for row in table.rows:
        if row.status != "published":
            _suite(root, row.target, [_check(row, check, against) for check in row.checks])
    if against is not None:
        cases = [_change(change, "failure", change.text) for change in against.judged.worse]
        cases += [_change(change, "skipped", reason) for change, reason in against.judged.known]
        cases += [_change(change, "", change.text) for change in against.judged.others]
        if not against.judged.worse:
            cases.append(_case("changes", "nothing is missing or worse without a reason"))
        _suite(root, f"since {against.name}", cases)
    for key in ("tests", "failures", "errors", "skipped"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _suite(root: ElementTree.Element, name: str, cases: list[ElementTree.Element]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", name=_text(name))
    suite.extend(cases)
    suite.set("tests", str(len(cases)))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(tag) is not None for case in cases)))


def _check(row: Row, check: Check, against: Against | None) -> ElementTree.Element:
    case = _case(row.target, check.name)
    tag = {"fail": "failure", "undecided": "error"}.get(check.verdict or "")
    if tag and against is not None and not against.is_worse(row.target):
        _outcome(case, "skipped", f"as in {against.name}, or with a reason: {check.text}")
    elif tag:
        _outcome(case, tag, check.text)
    else:
        prefix = "warning: " if check.verdict == "warning" else ""
        ElementTree.SubElement(case, "system-out").text = _text(prefix + check.text)
    return case


def _change(change: Change, tag: str, text: str) -> ElementTree.Element:
    case = _case(change.row, f"{change.cell} {change.kind}")
    if tag:
        _outcome(case, tag, f"{change.text}: {text}" if tag == "skipped" else text)
    else:
        ElementTree.SubElement(case, "system-out").text = _text(text)
    return case


def _case(row: str, name: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", classname=_text(row), name=_text(name))


def _outcome(case: ElementTree.Element, tag: str, text: str) -> None:
    outcome = ElementTree.SubElement(case, tag, message=_text(text))
    if tag != "skipped":
        outcome.text = _text(text)


def _text(text: str) -> str:
    # XML has no control characters, not even as references.
    return printable(text)
