"""The view model of the report: everything that the template shows, derived from the results."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascadeport import evaluation
from cascadeport.base.errors import CascadeportError
from cascadeport.datasets import Dataset
from cascadeport.evaluation import Marked
from cascadeport.report import charts, pictures
from cascadeport.results.comparison import Comparison, Row
from cascadeport.results.numbers import NONE
from cascadeport.results.result import Result

STEPS = {
    "decode": "decode",
    "preprocess": "preprocess",
    "h2d": "to the device",
    "device": "device",
    "d2h": "from the device",
    "postprocess": "postprocess",
}
SCORE_THRESHOLD = 0.3
"""Detections below this score are evaluated but not drawn."""


@dataclass(frozen=True)
class Curve:
    """A line of a chart: the index of its target, and its path."""

    series: int
    path: str


@dataclass(frozen=True)
class CategoryView:
    """A category: its number of objects, every target's AP (None: no object), and its curves."""

    name: str
    annotations: int
    aps: list[float | None]
    curves50: list[Curve]
    curves75: list[Curve]


@dataclass(frozen=True)
class Overlay:
    """One target's boxes in a picture."""

    count: pictures.Count
    marked: list[Marked]


@dataclass(frozen=True)
class PictureView:
    """A picture with every target's boxes."""

    name: str
    why: str
    address: str
    width: int
    height: int
    overlays: list[Overlay]


@dataclass(frozen=True)
class StepView:
    """A step's mean milliseconds for every target; None where a runtime does not report it."""

    name: str
    means: list[float | None]


def split(results: Sequence[Result], rows: Sequence[Row]) -> tuple[list[Result], list[Result]]:
    """The results whose details are shown side by side, and the others.

    A result that is invalid in the comparison is not shown beside valid ones; if there is no
    valid one, the first is shown with its reason.
    """
    valid = {row.target for row in rows if row.status in ("measured", "simulated")}
    shown = [result for result in results if result.target in valid] or list(results[:1])
    return shown, [result for result in results if result not in shown]


def categories(shown: Sequence[Result]) -> tuple[list[CategoryView], list[str]]:
    """The categories with objects, sorted by AP of the first target; and the others' names."""
    views, absent = [], []
    aps = [{one.id: one.ap for one in result.evaluation.per_category} for result in shown]
    for one in shown[0].evaluation.per_category if shown else []:
        if one.ap is None:
            absent.append(one.name)
            continue
        views.append(
            CategoryView(
                name=one.name,
                annotations=one.annotations,
                aps=[by_id.get(one.id) for by_id in aps],
                curves50=_category_curves(shown, "iou50", one.id),
                curves75=_category_curves(shown, "iou75", one.id),
            )
        )
    return sorted(views, key=lambda view: (-(view.aps[0] or 0.0), view.name)), absent


def _category_curves(shown: Sequence[Result], threshold: Any, category: int) -> list[Curve]:
    found = []
    for series, result in enumerate(shown):
        curves = result.evaluation.pr_curves[threshold]
        if category in curves.per_category:
            found.append(Curve(series, charts.curve(curves.recall, curves.per_category[category])))
    return found


def overall(shown: Sequence[Result], threshold: Any) -> list[Curve]:
    """The mean curve of every target at one IoU threshold."""
    found = []
    for series, result in enumerate(shown):
        curves = result.evaluation.pr_curves[threshold]
        if curves.all is not None:
            found.append(Curve(series, charts.curve(curves.recall, curves.all)))
    return found


def steps(shown: Sequence[Result]) -> list[StepView]:
    """Mean milliseconds of the steps that at least one runtime reports."""
    views = []
    for key, name in STEPS.items():
        found = [result.run.summary.steps_ms.get(key) for result in shown]
        means = [one.mean if one else None for one in found]
        if any(mean is not None for mean in means):
            views.append(StepView(name, means))
    return views


def histograms(shown: Sequence[Result]) -> list[charts.Histogram | None]:
    """Histograms of the device times of the scored pass; None where there are no times."""
    return [
        charts.histogram(_device_times(result)) if result.latency_ms is not None else None
        for result in shown
    ]


def _device_times(result: Result) -> list[float]:
    path = result.file("times")
    if path is None:
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("pass") == "1"]
        times = [float(row["device_ms"]) for row in rows if row.get("device_ms")]
    except (OSError, ValueError, csv.Error) as error:
        raise CascadeportError(
            f"The times of {result.title} cannot be read: {error}.",
            where=str(path),
            next="Run the target again.",
        ) from error
    return [time for time in times if math.isfinite(time)]


def environment(shown: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """The environment of each target, one line per fact."""
    keys: dict[str, None] = {}
    for result in shown:
        keys.update(dict.fromkeys(_flat(result.run.environment)))
    flat = [_flat(result.run.environment) for result in shown]
    lines = [(key.replace("_", " "), [one.get(key, "") for one in flat]) for key in keys]
    peaks = [result.run.peak_rss_bytes for result in shown]
    if any(peaks):
        lines.append(("peak memory", [f"{peak / 2**20:.0f} MiB" if peak else "" for peak in peaks]))
    return lines


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key} "))
        elif isinstance(value, list):
            flat[prefix + key] = ", ".join(map(str, value))
        elif value is not None:
            flat[prefix + key] = str(value)
    return flat


def digests(shown: Sequence[Result]) -> list[tuple[str, list[str]]]:
    """The digests of what each target ran, read and found; a dash where there is none."""
    lines = [
        ("bundle", [result.bundle_digest for result in shown]),
        ("model", [result.model_digest for result in shown]),
        ("network", [result.run.digests.network for result in shown]),
        ("image", [_image(result) for result in shown]),
        ("data set", [result.dataset_digest for result in shown]),
        ("pictures", [result.pictures_digest for result in shown]),
        ("settings", [result.settings_digest for result in shown]),
        ("annotations", [result.evaluation.sources.annotations for result in shown]),
        ("detections", [result.evaluation.sources.detections for result in shown]),
    ]
    return [line for line in lines if any(cell != NONE for cell in line[1])]


def _image(result: Result) -> str:
    """The id of the image that the pass ran in."""
    engine = (result.run.model_extra or {}).get("engine")
    known = engine if isinstance(engine, Mapping) else {}
    images = [str(value) for key, value in known.items() if str(key).startswith("image:")]
    return ", ".join(images) or NONE


def shown_pictures(
    shown: Sequence[Result], dataset: Dataset | None
) -> tuple[list[PictureView], str]:
    """The chosen pictures with every target's boxes, or the reason why there are none."""
    if dataset is None:
        return [], "The data set is not available."
    items = {item.id: item for item in dataset.items}
    diagnoses = []
    for result in shown:
        path = result.file("detections")
        if path is None:
            return [], f"The detections of {result.title} are not available."
        try:
            diagnoses.append(_diagnose(dataset, path, sorted(items)))
        except CascadeportError as error:
            return [], error.what
    views: list[PictureView] = []
    for choice in pictures.choose(diagnoses, most=pictures.MOST):
        item = items[choice.image_id]
        address = pictures.embed(dataset.pictures_dir / item.file, item.width, item.height)
        if address is None:
            continue
        marks = [one[choice.image_id] for one in diagnoses]
        views.append(
            PictureView(
                name=item.file,
                why=choice.why,
                address=address,
                width=item.width,
                height=item.height,
                overlays=[Overlay(pictures.count(one), one) for one in marks],
            )
        )
    return views, "" if views else "No picture can be read."


def _diagnose(dataset: Dataset, path: Path, ids: list[int]) -> dict[int, list[Marked]]:
    return evaluation.diagnose(dataset.annotations_path, path, ids, score_threshold=SCORE_THRESHOLD)


def headline(comparison: Comparison) -> list[Row]:
    """The rows shown first: valid results of this project's own runs."""
    return [row for row in comparison.rows if row.status in ("measured", "simulated")]
