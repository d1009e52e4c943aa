"""The comparison: all results and published figures of a model on a data set, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cascadeport.base.errors import CascadeportError
from cascadeport.results import collate, settings
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


class Row(BaseModel):
    """A row of the comparison (docs/architecture.md). Missing values are None."""

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
    pictures: int | None = None
    chip_ips: float | None = None
    device_ips: float | None = None
    end_to_end_ips: float | None = None
    latency_ms: Statistics | None = None
    bundle_digest: str | None = None
    model_digest: str | None = None
    dataset_digest: str | None = None
    settings_digest: str | None = None
    semantics: list[str] = []


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
    """Computes the results of all targets that have finished.

    One that cannot be computed, or whose result.json says otherwise, is invalid, with the reason.

    Args:
        folder: results/<model>-<data>.
        known: What the results are checked against.
        order: The targets' names in the order of the rows; others follow, sorted by name.
    """
    ranks = {name: rank for rank, name in enumerate(order)}
    paths = sorted(
        folder.glob(f"*/{results.NAME}"),
        key=lambda path: (ranks.get(path.parent.name, len(ranks)), path.parent.name),
    )
    found = []
    for path in paths:
        try:
            found.append(Found(path.parent.name, _checked(path, known)))
        except CascadeportError as error:
            where = f" ({Path(error.where).name})" if error.where else ""
            reason = " ".join([f"{error.what}{where}", *error.details[:3]])
            found.append(Found(path.parent.name, None, reason))
    return found


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
    anchor = _anchor(known)
    rows = [_row(one, anchor) for one in found]
    rows += [_published_row(figures) for figures in published]
    rows = _with_differences(rows, published)
    first = anchor or (known[0] if known else None)
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


def _row(found: Found, anchor: Result | None) -> Row:
    result = found.result
    if result is None:
        return Row(target=found.target, title=found.target, status="invalid", reason=found.reason)
    status, reason = result.status, result.reason
    if anchor is not None and status != "invalid" and (mismatch := _mismatch(result, anchor)):
        status, reason = "invalid", mismatch
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
        semantics=result.semantics,
    )


def _mismatch(result: Result, anchor: Result) -> str:
    parts = [
        f"{what} ({getattr(result, key)[:12]}, not {getattr(anchor, key)[:12]})"
        for key, what in _DIGESTS.items()
        if getattr(result, key) != getattr(anchor, key)
    ]
    if others := settings.different(result.settings, anchor.settings):
        parts.append(f"other {', '.join(others)}")
    if not parts:
        return ""
    return f"{' and '.join(parts)} than {anchor.title}; run it again to compare"


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
