"""The gate: is a result good enough? PASS, FAIL or UNDECIDED for every row, with the reason.

What is good enough was declared before the run (config/gate.py) and is part of what the run was
about. docs/evaluation.md has the rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cascadeport.config.gate import Gate
from cascadeport.config.gate import points as in_words
from cascadeport.results import intervals, resampling
from cascadeport.results import reference as references
from cascadeport.results.collate import Known
from cascadeport.results.comparison import Check, Comparison, Found, Row, Verdict
from cascadeport.results.differences import differences
from cascadeport.results.intervals import Differences, Interval
from cascadeport.results.numbers import points
from cascadeport.results.published import PublishedFigures
from cascadeport.results.reference import Reference, UnusableError
from cascadeport.results.result import Result

_SHOWN = 3
_SPEEDS: Mapping[Literal["device_ips", "end_to_end_ips"], str] = {
    "device_ips": "on the device",
    "end_to_end_ips": "end to end",
}


def judge(
    table: Comparison,
    found: Sequence[Found],
    published: Sequence[PublishedFigures],
    known: Known,
) -> Comparison:
    """The comparison with a verdict on every row of this project's own.

    Args:
        table: The comparison of `found` and `published`.
        found: The results, as they were compared.
        published: The published figures.
        known: What the rows were checked against.
    """
    results = {one.target: one.result for one in found if one.result is not None}
    rows = []
    for row in table.rows:
        result = results.get(row.target)
        if row.status == "published":
            rows.append(row)
        elif row.status == "invalid" or result is None:
            check = Check(name="valid", verdict="fail", text=f"the result is INVALID: {row.reason}")
            rows.append(_with(row, [check]))
        else:
            rows.append(_judged(row, result, table, results, published, known))
    return table.model_copy(update={"rows": rows})


def overall(rows: Sequence[Row]) -> Verdict | None:
    """The verdict on several rows: the worst of theirs; None where none has one."""
    verdicts = {row.verdict for row in rows}
    return next((one for one in ("fail", "undecided", "pass") if one in verdicts), None)


@dataclass(frozen=True)
class Judged:
    """A verdict on a difference of mAP, and what has to be said about it after a sentence."""

    verdict: Verdict
    note: str = ""


def verdict_on(delta: float, difference: Interval, pictures: int, limit: float) -> Judged:
    """Whether a difference of mAP is within a limit, beyond it, or not known to be either.

    Args:
        delta: The difference over all pictures.
        difference: Its interval.
        pictures: How many pictures there are.
        limit: How many points (hundredths of mAP) the row may be below the reference.
    """
    if difference.low == difference.high == delta == 0:
        # No draw differs: this needs no minimum of pictures.
        return Judged("pass")
    if pictures < intervals.FEWEST_PICTURES:
        few = f"{pictures} pictures are too few, at least {intervals.FEWEST_PICTURES}"
        return Judged("undecided", f"; {few}")
    if difference.low >= -limit / 100:
        return Judged("pass")
    if difference.high < -limit / 100:
        return Judged("fail")
    return Judged("undecided", "; more pictures would decide")


def _judged(
    row: Row,
    result: Result,
    table: Comparison,
    results: dict[str, Result],
    published: Sequence[PublishedFigures],
    known: Known,
) -> Row:
    gate = result.gate
    if gate is None:
        text = "nothing was declared to be good enough before its run; run it again"
        return _with(row, [Check(name="gate", verdict="undecided", text=text)])
    checks, update = [], dict[str, Any]()
    try:
        reference = references.find(gate, table, results, published, known)
    except UnusableError as error:
        reference = None
        checks.append(Check(name="accuracy", verdict="undecided", text=str(error)))
    if reference is not None and reference.target == row.target:
        text = f"it is the reference: other rows may be {in_words(gate.points)} below it"
        checks.append(Check(name="accuracy", text=text))
    elif reference is not None:
        difference = _difference(result, reference, known)
        checks += _accuracy(gate, result, reference, difference.map)
        checks += _categories(gate, result, reference, difference)
        if result.map is not None:
            # What the table says of the row is what its verdict is about.
            update = {"delta_map": result.map - reference.map, "against": reference.title}
        if difference.map is not None:
            update |= {"delta_low": difference.map.low, "delta_high": difference.map.high}
    elif not checks:
        text = "there is neither a measured row nor a published accuracy of these pictures"
        checks.append(Check(name="accuracy", verdict="undecided", text=text))
    checks += _speeds(gate, row)
    checks += _changed(gate, result, known)
    return _with(row, checks, **update)


def _with(row: Row, checks: Sequence[Check], **update: Any) -> Row:
    verdicts = [check.verdict for check in checks]
    verdict = next((one for one in ("fail", "undecided", "pass") if one in verdicts), None)
    # What decided comes first; what passed is not said beside what did not.
    said = [check for check in checks if check.verdict == verdict]
    if verdict is None:
        said = [check for check in checks if check.verdict != "warning"]
    said += [check for check in checks if check.verdict == "warning"]
    reason = "; ".join(check.text for check in said)
    changes = {"verdict": verdict, "verdict_reason": reason, "checks": list(checks), **update}
    return row.model_copy(update=changes)


def _difference(result: Result, reference: Reference, known: Known) -> Differences:
    own = resampling.of_result(result, known.dataset)
    if reference.accuracies is not None:
        return intervals.paired(own, reference.accuracies)
    return Differences(intervals.unpaired(own, reference.map), {})


def _accuracy(
    gate: Gate, result: Result, reference: Reference, difference: Interval | None
) -> Iterator[Check]:
    if result.map is None or difference is None:
        text = "these pictures have too few objects for an accuracy"
        yield Check(name="accuracy", verdict="undecided", text=text)
        return
    delta, limit = result.map - reference.map, gate.points / 100
    text = (
        f"mAP is {points(delta)} points from {reference.title} ({reference.map:.4f}), "
        f"95 % interval {points(difference.low)} to {points(difference.high)}; "
        f"the limit is {points(-limit)}"
    )
    judged = verdict_on(delta, difference, result.pictures, gate.points)
    text += judged.note
    yield Check(name="accuracy", verdict=judged.verdict, text=text)
    if delta > limit:
        text = (
            f"it is {points(delta)} points better than {reference.title}: is that the same model "
            "on the same pictures?"
        )
        yield Check(name="accuracy", verdict="warning", text=text)


def _categories(
    gate: Gate,
    result: Result,
    reference: Reference,
    difference: Differences,
) -> Iterator[Check]:
    """Categories further from the reference than the limit, beyond doubt."""
    if reference.accuracies is None:
        return
    limit = gate.category_points / 100
    own = {one.id: one for one in result.evaluation.per_category}
    lower, higher, unsure = [], [], []
    for category, found in difference.categories.items():
        if reference.accuracies.pictures[category] < intervals.FEWEST_PICTURES:
            continue
        said = f"{own[category].name} {points(found.low)} to {points(found.high)}"
        if found.high < -limit:
            lower.append((found.high, said))
        elif found.low > limit:
            higher.append((-found.low, said))
        elif found.low < -limit and gate.categories == "fail":
            unsure.append((found.low, said))
    if gate.categories == "fail":
        verdict: Verdict = "fail" if lower else "undecided" if unsure else "pass"
        text = (
            f"AP of no category is more than {in_words(gate.category_points)} below "
            f"{reference.title}"
        )
        if lower or unsure:
            is_ = "is" if lower else "may be"
            text = _listed(lower or unsure, is_, "below", gate, reference)
        yield Check(name="categories", verdict=verdict, text=text)
    elif lower:
        text = _listed(lower, "is", "below", gate, reference)
        yield Check(name="categories", verdict="warning", text=text)
    if higher:
        text = _listed(higher, "is", "above", gate, reference)
        yield Check(name="categories", verdict="warning", text=text)


def _listed(
    found: list[tuple[float, str]], is_: str, side: str, gate: Gate, reference: Reference
) -> str:
    names = [said for _, said in sorted(found)]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    counted = "1 category" if len(names) == 1 else f"{len(names)} categories"
    return (
        f"AP of {counted} {is_} more than {in_words(gate.category_points)} {side} "
        f"{reference.title}: {', '.join(names[:_SHOWN])}{more}"
    )


def _speeds(gate: Gate, row: Row) -> Iterator[Check]:
    for key, where in _SPEEDS.items():
        wanted = getattr(gate, key)
        if wanted is None:
            continue
        value = getattr(row, key)
        if value is None:
            text = f"there is no speed {where}, and {wanted:g} pictures per second are wanted"
            yield Check(name=key, verdict="undecided", text=text)
            continue
        verdict: Verdict = "pass" if value >= wanted else "fail"
        text = f"{value:.2f} pictures per second {where}, at least {wanted:g} are wanted"
        yield Check(name=key, verdict=verdict, text=text)


def _changed(gate: Gate, result: Result, known: Known) -> Iterator[Check]:
    """A gate edited after the run is not the one that was declared."""
    subject = result.run.subject
    now = known.gates.get(subject.target) if subject is not None else None
    if now is None or now == gate:
        return
    found = differences(now.model_dump(mode="json"), gate.model_dump(mode="json"))
    text = (
        f"the gate has been changed since the run, which is judged by its own: {'; '.join(found)}"
    )
    yield Check(name="gate", verdict="warning", text=text)
