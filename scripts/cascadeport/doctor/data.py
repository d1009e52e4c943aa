"""The data set: present and complete, or to be fetched."""

from __future__ import annotations

from cascadeport.core.check import Check, Finding
from cascadeport.core.context import Context
from cascadeport.pipeline.stages import data


def _data(context: Context) -> Finding:
    source = data.source(context.options, context.target)
    if source.stages:
        return Finding("data", "ok", f"{source.name}: the plan makes or fetches it.")
    dataset = source.load(context.options)
    return Finding("data", "ok", f"{dataset.name}: all {len(dataset.items)} pictures are there.")


CHECKS = (Check("data", lambda context: True, _data),)
