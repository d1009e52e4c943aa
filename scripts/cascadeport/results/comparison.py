"""The comparison: all results and published figures of a model on a data set, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from cascadeport.base.errors import CascadeportError
from cascadeport.results import collate, failure, settings
from cascadeport.results import result as results
from cascadeport.results.collate import Known
from cascadeport.results.published import PublishedFigures
from cascadeport.results.result import Result, Status
from cascadeport.results.run_record import Statistics

FORMAT = 2

_DIGESTS = {
    "bundle_digest": "another bundle",
    "model_digest": "another model",
    "dataset_digest": "another data set",
    "pictures_digest": "other pictures",
}


Verdict = Literal["pass", "fail", "undecided"]


class Check(BaseModel):
    """One thing that the gate asks for, and whether a row has it (results/gate.py).

    `verdict` is None where there is nothing to judge, and `warning` where it is no reason to fail.
    """

    model_config = ConfigDict(frozen=True)

    name: Literal["valid", "gate", "accuracy", "categories", "device_ips", "end_to_end_ips"]
    verdict: Verdict | Literal["warning"] | None = None
    text: str


class Row(BaseModel):
    """A row of the comparison (docs/architecture.md). Missing values are None.

    `delta_low` and `delta_high` are the interval of the difference that the verdict is from.
    `published_ratio` is the measured speed divided by the first published one of the same target.
    `device_time` says what is inside the device's times, `machine` is the host's architecture.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    target: str
    title: str
    status: Status
    reason: str = ""
    input: str | None = None
    map: float | None = None
    map50: float | None = None
    map75: float | None = None
    delta_map: float | None = None
    against: str | None = None
    delta_low: float | None = None
    delta_high: float | None = None
    pictures: int | None = None
    chip_ips: float | None = None
    device_ips: float | None = None
    end_to_end_ips: float | None = None
    published_ratio: float | None = None
    device_time: str | None = None
    machine: str | None = None
    latency_ms: Statistics | None = None
    verdict: Verdict | None = None
    verdict_reason: str = ""
    checks: list[Check] = []
    bundle_digest: str | None = None
    model_digest: str | None = None
    dataset_digest: str | None = None
    settings_digest: str | None = None
    evaluators: str | None = None
    semantics: list[str] = []
    remarks: list[str] = []


class Comparison(BaseModel):
    """All rows. `model` and `dataset` have at least a `name`."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    model: dict[str, Any]
    dataset: dict[str, Any]
    rows: list[Row]

    @property
    def chips(self) -> bool:
        """Whether a device has several chips, so that one chip's throughput is a column."""
        return any(row.chip_ips != row.device_ips for row in self.rows)

    @property
    def inputs(self) -> list[str]:
        """The distinct input shapes of the rows: accuracy depends on them."""
        return list(dict.fromkeys(row.input for row in self.rows if row.input))


@dataclass(frozen=True)
class Found:
    """A target's result, or the reason why it cannot be computed."""

    target: str
    result: Result | None
    reason: str = ""


def collect(folder: Path, known: Known, order: Sequence[str] = ()) -> list[Found]:
    """Computes the results of all targets that have finished or failed.

    One that cannot be computed, whose result.json says otherwise, or whose last run failed is
    invalid, with the reason.

    Args:
        folder: results/<model>-<data>.
        known: What the results are checked against.
        order: The targets' names in the order of the rows; others follow, sorted by name.
    """
    rows = {
        path.parent.name
        for name in (results.NAME, failure.NAME)
        for path in folder.glob(f"*/{name}")
    }
    return [found_in(folder / row, known) for row in in_order(rows, order)]


def in_order(rows: Iterable[str], order: Sequence[str]) -> list[str]:
    """Rows in the order of a table: those of `order` first, then the others by name."""
    ranks = {name: rank for rank, name in enumerate(order)}
    return sorted(rows, key=lambda row: (ranks.get(row, len(ranks)), row))


def found_in(row: Path, known: Known) -> Found:
    """Computes the result of one row.

    Args:
        row: Its folder, of its name.
        known: What it is checked against.
    """
    failed = failure.of(row)
    if failed and not (row / results.NAME).exists():
        return Found(row.name, None, failed)
    try:
        result = _checked(row / results.NAME, known)
    except CascadeportError as error:
        where = f" ({Path(error.where).name})" if error.where else ""
        return Found(
            row.name, None, failed or " ".join([f"{error.what}{where}", *error.details[:3]])
        )
    if failed:
        reason = "; ".join(filter(None, [failed, result.reason]))
        result = result.model_copy(update={"status": "invalid", "reason": reason})
    return Found(row.name, result)


def _checked(path: Path, known: Known) -> Result:
    """A target's result, computed; invalid where its result.json says otherwise."""
    computed = collate.compute(path.parent, known).model_copy(update={"folder": path.parent})
    otherwise = collate.stated_otherwise(results.load(path), computed)
    if not otherwise:
        return computed
    reasons = [*otherwise, *filter(None, [computed.reason])]
    return computed.model_copy(update={"status": "invalid", "reason": "; ".join(reasons)})


def compare(found: Sequence[Found], published: Sequence[PublishedFigures] = ()) -> Comparison:
    """Compares results.

    A result whose bundle, model, data set, pictures or settings of the card differ from those of
    the first measured one is invalid in the comparison. Accuracy is compared with the first
    comparable published one, else with the first measured row's.

    Raises:
        CascadeportError: There is nothing to compare.
    """
    if not found and not published:
        raise CascadeportError(
            "There is no finished result to compare.", next="Run a target first: cascadeport all."
        )
    known = [one.result for one in found if one.result is not None]
    model = _anchor(known)
    rows = [_row(one, model) for one in found]
    rows += [_published_row(figures) for figures in published]
    rows = _with_ratios(_with_differences(rows, published), known)
    first = model or (known[0] if known else None)
    return Comparison(
        model=first.model.model_dump(mode="json") if first else {"name": ""},
        dataset={"name": first.dataset.name, "pictures": first.dataset.pictures}
        if first
        else {"name": ""},
        rows=rows,
    )


def _anchor(known: Sequence[Result]) -> Result | None:
    """The result that the others must match: the first measured, else the first simulated one."""
    for status in ("measured", "simulated"):
        for result in known:
            if result.status == status:
                return result
    return None


def anchor(rows: Sequence[Row], results: Mapping[str, Result]) -> Result | None:
    """The result that others are held against: the first measured row's, else the first simulated.

    Args:
        rows: The rows of the comparison: one that others are not comparable with is invalid there.
        results: The results by row.
    """
    for status in ("measured", "simulated"):
        for row in rows:
            if row.status == status and row.target in results:
                return results[row.target]
    return None


def comparable(rows: Sequence[Row], results: Mapping[str, Result]) -> list[Result]:
    """The results that can be compared with each other; the first is the `anchor`."""
    first = anchor(rows, results)
    valid = {row.target for row in rows if row.status in ("measured", "simulated")}
    others = [one for name, one in results.items() if name in valid and one is not first]
    return [first, *others] if first is not None else others


def _row(found: Found, anchor: Result | None) -> Row:
    result = found.result
    if result is None:
        return Row(target=found.target, title=found.target, status="invalid", reason=found.reason)
    status, reason = result.status, result.reason
    if anchor is not None and status != "invalid" and (mismatch := _mismatch(result, anchor)):
        status, reason = "invalid", mismatch
    timed = result.latency_ms is not None or result.device_ips is not None
    return Row(
        target=result.target,
        title=result.title,
        status=status,
        reason=reason,
        input=result.model.input,
        map=result.map,
        map50=result.map50,
        map75=result.map75,
        pictures=result.pictures,
        chip_ips=result.chip_ips,
        device_ips=result.device_ips,
        end_to_end_ips=result.end_to_end_ips,
        latency_ms=result.latency_ms,
        bundle_digest=result.bundle_digest,
        model_digest=result.model_digest,
        dataset_digest=result.dataset_digest,
        settings_digest=result.settings_digest,
        evaluators=result.evaluation.evaluators.title,
        device_time=_said(result, "device_time") if timed else None,
        machine=_said(result, "machine"),
        semantics=result.semantics,
        remarks=[*result.remarks, *_differs(result, anchor)],
    )


def _differs(result: Result, anchor: Result | None) -> list[str]:
    """What a row has other than the one that it is held against, as the user asked."""
    asked = _asked(result, anchor) if anchor is not None else []
    if not asked or anchor is None:
        return []
    return [f"other {' and '.join(asked)} than {anchor.title}, as asked"]


def _said(result: Result, key: str) -> str | None:
    value = result.run.environment.get(key)
    return value if isinstance(value, str) else None


def _mismatch(result: Result, anchor: Result) -> str:
    parts = [
        f"{what} ({getattr(result, key)[:12]}, not {getattr(anchor, key)[:12]})"
        for key, what in _DIGESTS.items()
        if getattr(result, key) != getattr(anchor, key)
    ]
    asked = _asked(result, anchor)
    others = [
        one for one in settings.different(result.settings, anchor.settings) if one not in asked
    ]
    if others:
        parts.append(f"other {', '.join(others)}")
    if not parts:
        return ""
    return f"{' and '.join(parts)} than {anchor.title}; run it again to compare"


def _asked(result: Result, anchor: Result) -> list[str]:
    """The settings in which a result differs because the user asked for other shapes or sizes."""
    frames = [one.run.subject.frame if one.run.subject else "" for one in (result, anchor)]
    if frames[0] == frames[1]:
        return []
    different = settings.different(result.settings, anchor.settings)
    return [one for one in different if one in settings.FRAME]


def _published_row(figures: PublishedFigures) -> Row:
    return Row(
        target=figures.target,
        title=figures.title,
        status="published",
        reason=figures.source,
        map=figures.map,
        chip_ips=figures.chip_ips,
        device_ips=figures.device_ips,
    )


def _with_ratios(rows: list[Row], known: Sequence[Result]) -> list[Row]:
    """Measured rows with their speed divided by the first one published of the same target."""
    published: dict[str, float] = {}
    for row in rows:
        if row.status == "published" and row.device_ips:
            published.setdefault(row.target, row.device_ips)
    # A fleet's speed is not to be divided by one device's.
    targets = {
        one.target: one.run.subject.target
        for one in known
        if one.run.subject and not one.run.shards
    }
    return [
        row.model_copy(update={"published_ratio": row.device_ips / published[targets[row.target]]})
        if row.status == "measured" and row.device_ips and targets.get(row.target) in published
        else row
        for row in rows
    ]


def _with_differences(rows: list[Row], published: Sequence[PublishedFigures]) -> list[Row]:
    own = len(rows) - len(published)
    comparable = [False] * own + [figures.comparable for figures in published]
    reference = _reference(rows, comparable)
    if reference is None:
        return rows
    base = rows[reference]
    assert base.map is not None
    completed = []
    for index, row in enumerate(rows):
        counts = row.status in ("measured", "simulated") or comparable[index]
        if index == reference or row.map is None or not counts:
            completed.append(row)
            continue
        difference = {"delta_map": row.map - base.map, "against": base.title}
        completed.append(row.model_copy(update=difference))
    return completed


def _reference(rows: Sequence[Row], comparable: Sequence[bool]) -> int | None:
    """The index of the row that accuracies are compared with."""
    for index, row in enumerate(rows):
        if comparable[index] and row.map is not None:
            return index
    for index, row in enumerate(rows):
        if row.status == "measured" and row.map is not None:
            return index
    return None
