"""The comparison: one table of everything that was run or published of a model on a data set."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from cascadeport.results import record as results
from cascadeport.base.errors import CascadeportError
from cascadeport.base.text import printable
from cascadeport.results.record import Result, Statistics, Status

FORMAT = 1
NAME = "comparison"

_DIGESTS = {
    "bundle_digest": "another bundle",
    "model_digest": "another checkpoint",
    "dataset_digest": "another data set",
}
NONE = "–"


class Row(BaseModel):
    """A row of the comparison (docs/architecture.md). What does not exist is None."""

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
    images: int | None = None
    chip_ips: float | None = None
    device_ips: float | None = None
    end_to_end_ips: float | None = None
    latency_ms: Statistics | None = None
    bundle_digest: str | None = None
    model_digest: str | None = None
    dataset_digest: str | None = None
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
        """Whether some row tells one chip from the whole device: then that is a column."""
        return any(row.chip_ips != row.device_ips for row in self.rows)

    @property
    def inputs(self) -> list[str]:
        """The inputs that rows tell of, each once: the same weights see less in smaller ones."""
        return list(dict.fromkeys(row.input for row in self.rows if row.input))


@dataclass(frozen=True)
class Published:
    """Figures from elsewhere.

    Args:
        target: Which target they are of; "reference" for the accuracy of the model itself.
        title: How tables name it.
        source: Where they were published.
        map: mAP, from 0 to 1.
        chip_ips: Pictures per second of one chip.
        device_ips: Pictures per second of the whole device, all of its chips.
        comparable: Whether the accuracy is of this very data set, so that a difference to it means
            something.
    """

    target: str
    title: str
    source: str
    map: float | None = None
    chip_ips: float | None = None
    device_ips: float | None = None
    comparable: bool = False


@dataclass(frozen=True)
class Found:
    """A target's result, or the reason why there is none to be read."""

    target: str
    result: Result | None
    reason: str = ""


def collect(folder: Path, order: Sequence[str] = ()) -> list[Found]:
    """Reads the results of all targets; one that cannot be read does not lose the others.

    Args:
        folder: results/<model>-<data>.
        order: The targets' names in the order of the rows; others follow by name.
    """
    names = {name: place for place, name in enumerate(order)}
    paths = sorted(
        folder.glob(f"*/{results.NAME}"),
        key=lambda path: (names.get(path.parent.name, len(names)), path.parent.name),
    )
    found = []
    for path in paths:
        try:
            found.append(Found(path.parent.name, results.load(path)))
        except CascadeportError as error:
            reason = " ".join([error.what, *error.details[:3]])
            found.append(Found(path.parent.name, None, reason))
    return found


def compare(found: Sequence[Found], published: Sequence[Published] = ()) -> Comparison:
    """Puts results side by side.

    Results of another bundle, checkpoint or data set than the first measured one are invalid
    here. Accuracy is compared with the first comparable published one, else with the first
    measured row's.

    Raises:
        CascadeportError: There is nothing to compare.
    """
    if not found and not published:
        raise CascadeportError(
            "There is no finished result to compare.", next="Run a target first: make all."
        )
    known = [one.result for one in found if one.result is not None]
    anchor = _anchor(known)
    rows = [_row(one, anchor) for one in found]
    rows += [_published(one) for one in published]
    rows = _with_differences(rows, published)
    first = anchor or (known[0] if known else None)
    return Comparison(
        model=first.model.model_dump(mode="json") if first else {"name": ""},
        dataset={"name": first.dataset.name, "images": first.dataset.images}
        if first
        else {"name": ""},
        rows=rows,
    )


def _anchor(known: Sequence[Result]) -> Result | None:
    """The first measured result, else the first simulated one: the others must be alike."""
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
    if anchor is not None and status != "invalid" and (other := _unlike(result, anchor)):
        status, reason = "invalid", other
    return Row(
        target=result.target,
        title=result.title,
        status=status,
        reason=reason,
        input=result.model.input,
        map=result.map,
        map50=result.map50,
        map75=result.map75,
        images=result.images,
        chip_ips=result.chip_ips,
        device_ips=result.device_ips,
        end_to_end_ips=result.end_to_end_ips,
        latency_ms=result.latency_ms,
        bundle_digest=result.bundle_digest,
        model_digest=result.model_digest,
        dataset_digest=result.dataset_digest,
        semantics=result.semantics,
    )


def _unlike(result: Result, anchor: Result) -> str:
    parts = [
        f"{what} ({getattr(result, key)[:12]}, not {getattr(anchor, key)[:12]})"
        for key, what in _DIGESTS.items()
        if getattr(result, key) != getattr(anchor, key)
    ]
    if not parts:
        return ""
    return f"{' and '.join(parts)} than {anchor.title}; run it again to compare"


def _published(figures: Published) -> Row:
    return Row(
        target=figures.target,
        title=figures.title,
        status="published",
        reason=figures.source,
        map=figures.map,
        chip_ips=figures.chip_ips,
        device_ips=figures.device_ips,
    )


def _with_differences(rows: list[Row], published: Sequence[Published]) -> list[Row]:
    own = len(rows) - len(published)
    comparable = [False] * own + [one.comparable for one in published]
    reference = _reference(rows, comparable)
    if reference is None:
        return rows
    base = rows[reference]
    assert base.map is not None
    completed = []
    for place, row in enumerate(rows):
        counts = row.status in ("measured", "simulated") or comparable[place]
        if place == reference or row.map is None or not counts:
            completed.append(row)
            continue
        difference = {"delta_map": row.map - base.map, "against": base.title}
        completed.append(row.model_copy(update=difference))
    return completed


def _reference(rows: Sequence[Row], comparable: Sequence[bool]) -> int | None:
    for place, row in enumerate(rows):
        if comparable[place] and row.map is not None:
            return place
    for place, row in enumerate(rows):
        if row.status == "measured" and row.map is not None:
            return place
    return None


def write(comparison: Comparison, folder: Path) -> None:
    """Writes comparison.json, .csv and .md; equal comparisons give equal bytes."""
    text = json.dumps(comparison.model_dump(mode="json"), ensure_ascii=False, indent=1) + "\n"
    contents = {"json": text, "csv": as_csv(comparison), "md": as_markdown(comparison)}
    for suffix, content in contents.items():
        path = folder / f"{NAME}.{suffix}"
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_bytes(content.encode("utf-8"))
        temporary.replace(path)


def as_csv(comparison: Comparison) -> str:
    """The table for spreadsheets: a byte order mark, commas, CRLF, numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    latency = ("n", "mean", "p50", "p90", "p99")
    plain = [key for key in Row.model_fields if key not in ("latency_ms", "semantics")]
    writer.writerow([*plain, *(f"latency_ms_{key}" for key in latency), "semantics"])
    for row in comparison.rows:
        statistics = row.latency_ms or Statistics(n=0)
        times = [getattr(statistics, key) if row.latency_ms else None for key in latency]
        values = [*(getattr(row, key) for key in plain), *times, "; ".join(row.semantics)]
        writer.writerow([_cell(value) for value in values])
    return "\ufeff" + out.getvalue()


def _cell(value: Any) -> Any:
    # A text that begins like a formula would be run by a spreadsheet.
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r"):
        return f"'{value}"
    return value


def as_markdown(comparison: Comparison) -> str:
    """The table for people, with everything that a row must say below it."""
    model, dataset = comparison.model, comparison.dataset
    title = _plain(str(model.get("title") or model.get("name") or "Comparison"))
    where = _plain(str(dataset.get("name", "")))
    if dataset.get("images"):
        where += f", {dataset['images']} pictures"
    if len(comparison.inputs) == 1:
        where += f", input {_plain(comparison.inputs[0])}"
    head = ["target", "status", "mAP", "mAP50", "mAP75", "Δ mAP, points", "pictures"]
    head += ["chip img/s"] * comparison.chips + ["device img/s", "end-to-end img/s"]
    head += ["latency mean ms", "p50", "p90", "p99"]
    rows = [_markdown_row(row, comparison.chips) for row in comparison.rows]
    widths = [
        max(3, *(_width(line[place]) for line in [head, *rows])) for place in range(len(head))
    ]
    rule = [
        "-" * width if place < 2 else "-" * (width - 1) + ":" for place, width in enumerate(widths)
    ]
    lines = [f"# {title} on {where}" if where else f"# {title}", ""]
    lines += [_line(cells, widths) for cells in (head, rule, *rows)]
    lines += ["", *_notes(comparison)]
    return "\n".join(lines).rstrip() + "\n"


def _markdown_row(row: Row, chips: bool) -> list[str]:
    latency = row.latency_ms or Statistics(n=0)
    status = row.status.upper() if row.status == "invalid" else row.status
    return [
        _plain(row.title),
        status,
        *(number(value, 3) for value in (row.map, row.map50, row.map75)),
        points(row.delta_map),
        number(row.images, 0),
        *[number(row.chip_ips, 2)] * chips,
        *(number(value, 2) for value in (row.device_ips, row.end_to_end_ips)),
        *(number(getattr(latency, key), 2) for key in ("mean", "p50", "p90", "p99")),
    ]


def _notes(comparison: Comparison) -> list[str]:
    lines = []
    against = sorted({row.against for row in comparison.rows if row.against})
    for name in against:
        lines.append(f"- Δ mAP is against {_plain(name)}.")
    for row in comparison.rows:
        name = _plain(row.title)
        if row.status == "invalid":
            lines.append(f"- **{name} is INVALID**: {_plain(row.reason)}.".replace("..", "."))
        elif row.status == "published":
            lines.append(f"- Not measured here: {name}; from {_plain(row.reason)}")
        elif row.status == "simulated":
            lines.append(f"- {name} ran on a simulator: its accuracy counts, it has no speed.")
        if row.input and len(comparison.inputs) > 1:
            lines.append(f"- {name}: input {_plain(row.input)}; others of this table have another")
        lines.extend(f"- {name}: {_plain(change)}" for change in row.semantics)
    return lines


def number(value: float | None, digits: int) -> str:
    """A number for a table, or a dash."""
    return NONE if value is None else f"{value:.{digits}f}"


def points(delta: float | None) -> str:
    """A difference of mAP in points (hundredths), with its sign, or a dash."""
    if delta is None:
        return NONE
    text = f"{abs(delta) * 100:.2f}"
    if float(text) == 0:
        return text
    return f"+{text}" if delta > 0 else f"−{text}"


def _plain(text: str) -> str:
    """Text as Markdown shows it: no table bars, marks or line ends take effect."""
    text = printable(" ".join(text.split()))
    for mark in "\\|`*_<>[]":
        text = text.replace(mark, f"\\{mark}")
    return text


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - _width(cell))
        padded.append(cell + space if place < 2 else space + cell)
    return f"| {' | '.join(padded)} |"


def _width(text: str) -> int:
    """Columns of a terminal that a text takes."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF")
        for letter in text
    )
