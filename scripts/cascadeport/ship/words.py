"""The words that name a run, so that a shipment can say how it was frozen."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from cascadeport.config.options import Options, of

# What is not about the run, or is this machine's own.
_NOT_OF_THE_RUN = frozenset({"build", "results", "checkpoint", "keep_failed", "engine"})


def of_run(options: Options) -> tuple[str, ...]:
    """The words that name a run again. Paths are left out: they are nobody else's business."""
    found: list[str] = []
    for each in of(Options):
        value = getattr(options, each.field)
        if each.field not in _NOT_OF_THE_RUN and "/" not in str(value):
            found += each.words(value)
    return tuple(found)


def options(said: Sequence[str], now: Options, given: Collection[str]) -> Options:
    """The options that words name, under those that were given now.

    Args:
        said: What `of_run` returned.
        now: The options of this call.
        given: The fields of those that the user gave.
    """
    values: dict[str, Any] = {}
    by_flag = {each.flag: each for each in of(Options)}
    for word in said:
        flag, _, text = word.partition("=")
        each = by_flag.get(flag)
        if each is not None and each.field not in given:
            values[each.field] = True if each.is_flag else each.value(text)
    return replace(now, **values)
