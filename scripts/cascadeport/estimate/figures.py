"""Single-device figures: of a measured row where there is one, else published; never of another.

A row is computed from its files, as for the table. INVALID and simulated rows have no speed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from cascadeport.base.errors import CascadeportError
from cascadeport.core.context import Context
from cascadeport.core.plan import Plan
from cascadeport.results import collate, comparison
from cascadeport.results.comparison import Found
from cascadeport.results.published import PublishedFigures
from cascadeport.results.published import figures as published_figures
from cascadeport.results.result import Result

_HOST_STEPS = ("decode", "preprocess", "postprocess")
_PROCESSOR = "processor"
_FOUND = ("detections.json", "geometry.jsonl", "pictures.jsonl", "times.csv")


@dataclass(frozen=True)
class Rate:
    """Pictures per second: the scored pass's, and the slowest and the fastest pass's.

    `low` and `high` are None where nothing is known of a spread: one pass, or a published number.
    """

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Figure:
    """What one device does.

    Args:
        name: The row, or the target.
        title: Its name for people.
        status: Whether it was measured here, or is published.
        source: Where it comes from, in a few words.
        rate: Of the device with all of its chips; of a processor, which prepares pictures as well,
            end to end.
        processors: Of a processor, how many cores it kept busy; else None.
        startup_s: From the start until the first picture of the pass, None: not measured.
        memory: The largest memory of its process in bytes, None: not measured.
    """

    name: str
    title: str
    status: Literal["measured", "published"]
    source: str
    rate: Rate
    processors: float | None = None
    startup_s: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class Host:
    """What a picture costs the host beside the device.

    Args:
        ms: Milliseconds of one core to decode, preprocess and postprocess a picture.
        source: The row that it was measured in, and the processor.
    """

    ms: float
    source: str


@dataclass(frozen=True)
class Sizes:
    """Bytes of a picture, and of what is written about one; None: not known."""

    picture: float | None = None
    found: float | None = None
    source: str = ""


@dataclass(frozen=True)
class Known:
    """All of it.

    Args:
        figures: By the name that was asked for.
        host: None: no row of this model was measured.
        sizes: Of the pictures and results of a measured row.
        notes: What has to be said, in sentences.
    """

    figures: Mapping[str, Figure]
    host: Host | None
    sizes: Sizes
    notes: Sequence[str]


def gather(plan: Plan, context: Context, names: Sequence[str]) -> Known:
    """The figures of the model of a plan on each device.

    Raises:
        CascadeportError: There is none of a device.
    """
    known = _known(plan, context)
    # The order of the table is of no meaning here.
    rows = [] if known is None else comparison.collect(plan.folder, known)
    measured = {one.target: one.result for one in rows if _is_measured(one)}
    usable = {name: result for name, result in measured.items() if result is not None}
    published = published_figures(plan, context)
    figures = {name: _figure(name, usable, published, plan, context) for name in names}
    notes = [
        f"row {one.target} is {_why_not(one)}, and not used"
        for one in rows
        if one.target in names and one.target not in usable
    ]
    ordered = [usable[name] for name in names if name in usable]
    ordered += [one for name, one in usable.items() if name not in names]
    sizes = Sizes() if known is None else _sizes(ordered, known)
    return Known(figures, _host(ordered), sizes, notes)


def _known(plan: Plan, context: Context) -> collate.Known | None:
    """What rows are checked against; None where there is none, and no data set is needed."""
    if not any(plan.folder.glob("*/result.json")):
        return None
    return collate.known(plan, context)


def _is_measured(one: Found) -> bool:
    result = one.result
    return result is not None and result.status == "measured" and not _is_fleet(result)


def _why_not(one: Found) -> str:
    if one.result is None:
        return f"INVALID ({one.reason.rstrip('.')})"
    if _is_fleet(one.result):
        return "that of several devices together"
    if one.result.status == "invalid":
        return f"INVALID ({one.result.reason.rstrip('.')})"
    return one.result.status


def _is_fleet(result: Result) -> bool:
    """Whether several devices made it: its figures are not one's."""
    devices = (result.run.summary.model_extra or {}).get("devices")
    return isinstance(devices, (list, dict)) and len(devices) > 1


def _figure(
    name: str,
    rows: Mapping[str, Result],
    published: Sequence[PublishedFigures],
    plan: Plan,
    context: Context,
) -> Figure:
    if name in rows:
        return _measured(name, rows[name])
    for one in published:
        rate = one.device_ips or one.chip_ips
        if one.target == name and rate is not None:
            return Figure(name, one.title, "published", one.source, Rate(rate))
    raise CascadeportError(
        f"There is no figure of '{name}' for {plan.card.name}: none was measured here, and none is "
        "published.",
        where=str(plan.folder),
        details=[f"measured: {', '.join(rows) or 'nothing'}"],
        next=f"Measure one device: cascadeport all --target {name} --limit 100; then ask with the "
        "same options."
        if name in context.targets
        else f"Targets are {', '.join(context.targets)}; rows are named as in the table.",
    )


def _measured(name: str, result: Result) -> Figure:
    run = result.run
    is_processor = _runs_on_processor(result)
    key = "end_to_end_ips" if is_processor else "device_ips"
    first = getattr(run.summary, key)
    assert first is not None, "a measured row has a speed"
    passes = [value for one in run.summary.repeats if (value := getattr(one, key)) is not None]
    spread = (min(passes), max(passes)) if len(passes) > 1 else (None, None)
    extra = run.model_extra or {}
    startup = extra.get("startup_s")
    conditions = result.conditions
    cores = float(run.environment.get("threads") or 1)
    if conditions is not None:
        cores = conditions.own_cores or float(conditions.cores)
    return Figure(
        name,
        result.title,
        "measured",
        f"{run.pictures} pictures, {max(1, len(passes))} passes",
        Rate(first, *spread),
        processors=cores if is_processor else None,
        startup_s=float(startup) if isinstance(startup, (int, float)) else None,
        memory=run.peak_rss_bytes,
    )


def _runs_on_processor(result: Result) -> bool:
    proofs = result.run.environment.get("device_proof") or []
    return bool(proofs) and all(one.get("kind") == _PROCESSOR for one in proofs)


def _host(rows: Sequence[Result]) -> Host | None:
    """From the first row that has it: the same bundle prepares pictures for every device."""
    for one in rows:
        steps = [one.run.summary.steps_ms.get(name) for name in _HOST_STEPS]
        means = [step.mean for step in steps if step is not None and step.mean is not None]
        if len(means) == len(_HOST_STEPS):
            cpu = one.run.environment.get("cpu") or "an unknown processor"
            return Host(sum(means), f"row {one.target}, {cpu}")
    return None


def _sizes(rows: Sequence[Result], known: collate.Known) -> Sizes:
    for one in rows:
        folder = one.folder / "infer" if one.folder else None
        if folder is None or not one.run.pictures:
            continue
        found = sum((folder / name).stat().st_size for name in _FOUND if (folder / name).is_file())
        source = f"{len(known.dataset.items)} pictures of {known.data_name}, row {one.target}"
        return Sizes(_mean_size(known), found / one.run.pictures, source)
    return Sizes()


def _mean_size(known: collate.Known) -> float | None:
    """The mean size of the data set's pictures; None where one of them is not there any more."""
    root = known.dataset.pictures_dir
    try:
        sizes = [(root / item.file).stat().st_size for item in known.dataset.items]
    except OSError:
        return None
    return sum(sizes) / len(sizes) if sizes else None
