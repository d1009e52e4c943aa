"""The data set: there, whole, or to be fetched."""

from __future__ import annotations

from pathlib import Path

from cascadeport import datasets
from cascadeport.doctor.findings import Check, Context, Finding
from cascadeport.stages import data


def _data(context: Context) -> Finding:
    options = context.options
    wanted = data.wanted(options, context.target)
    if "/" not in wanted and (options.models / "data" / f"{wanted}.toml").is_file():
        return Finding("data", "ok", f"{wanted} is brought by the plan.")
    dataset = datasets.load(
        Path(wanted).expanduser(),
        pictures=options.pictures or datasets.PICTURES,
        annotations=options.annotations or datasets.ANNOTATIONS,
        limit=options.limit,
        keep_going=options.keep_going,
    )
    return Finding("data", "ok", f"{dataset.name}: {len(dataset.items)} pictures, all there.")


CHECKS = (Check("data", lambda context: True, _data),)
