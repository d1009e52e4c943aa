"""An explanation in sentences."""

from __future__ import annotations

import re

from cascadeport.explain.record import Explanation, Shares, Side, Tensor

_SHOWN = 3


def of(record: Explanation) -> list[str]:
    """The explanation in a few sentences: where it begins, who made it, what it costs."""
    return [*_tensors(record), *_vendor(record), *_shares(record)]


def _tensors(record: Explanation) -> list[str]:
    first, second = record.first.name, record.second.name
    found = record.tensors
    if found.first is None:
        text = (
            f"Nothing beyond noise: on picture {record.picture.id}, {first} and {second} agree in "
            f"all {found.compared} tensors that they share as closely as {first} agrees with "
            "itself."
        )
        return [text]
    sentences = [
        f"{first} and {second} begin to differ in {_place(found.first)}: {described(found.first)}."
    ]
    later = found.makers[1:]
    if later:
        places = list(dict.fromkeys(kind(one) for one in later))
        more = f" and {len(places) - _SHOWN} other kinds" if len(places) > _SHOWN else ""
        sentences.append(
            f"{len(later)} more tensor{'s' if len(later) > 1 else ''} differ"
            f"{'' if len(later) > 1 else 's'} beyond noise even from equal inputs "
            f"({', '.join(places[:_SHOWN])}{more}); what else differs is inherited."
        )
    return sentences


def _vendor(record: Explanation) -> list[str]:
    vendor = record.vendor
    if vendor is None:
        return []
    if vendor.first is None:
        text = f"msprobe finds nothing suspect in {vendor.compared} outputs"
    else:
        one = vendor.first
        where = f" ({one.stage}, `{one.value}`)" if one.value else ""
        text = (
            f"msprobe finds {len(vendor.suspects)} of {vendor.compared} outputs suspect, first "
            f"{one.operator}{where}"
        )
    if vendor.failed:
        text += f"; it could not compare {vendor.failed} more"
    return [f"{text}."]


def described(one: Tensor) -> str:
    """One tensor's difference in words."""
    size = f"differs by {percent(one.own)} of its size" if one.own is not None else "differs"
    if one.own == 0:
        size = "differs"
    times = f", {one.times:,.0f} times its noise" if one.times else ""
    extra = f" ({one.reason})" if one.reason else ""
    return (
        f"`{one.value}` {size}{times}{extra}, and {one.operator} makes that error itself from "
        "equal inputs"
    )


def _place(one: Tensor) -> str:
    return one.stage or "the graph"


def kind(one: Tensor) -> str:
    """The type of the operator that makes a tensor."""
    return re.split(r"[ _]", one.operator)[0]


def _shares(record: Explanation) -> list[str]:
    shares = record.shares
    if shares is None:
        return []
    sentences = []
    for side in (shares.first, shares.second):
        if side.steps:
            sentences.append(_side(side, shares))
    return sentences


def _side(side: Side, shares: Shares) -> str:
    known = [step for step in side.steps if step.points is not None]
    if side.base is None or side.together is None or not known:
        return f"The shares of {side.row} cannot be computed: there is no mAP."
    total = 100 * (side.together - side.base)
    where = f"on {shares.pictures} pictures"
    if all(abs(step.points or 0) < 0.005 for step in known) and abs(total) < 0.005:
        return f"{where.capitalize()} no declared change of {side.row} costs or gains mAP."
    largest = sorted(known, key=lambda step: -abs(step.points or 0))[:_SHOWN]
    parts = [f"{points(step.points)} {step.title.split(':')[0]}" for step in largest]
    rest = total - sum(step.points or 0 for step in largest)
    text = (
        f"{where.capitalize()} the declared changes of {side.row} make {points(total)} points of "
        f"mAP together; alone: {'; '.join(parts)}; interactions and the rest {points(rest)}."
    )
    if side.elsewhere is not None and abs(side.elsewhere) >= 0.005:
        text += f" {points(side.elsewhere)} more of {side.row}'s mAP are explained by none of them."
    return text


def points(value: float | None) -> str:
    """Points of mAP with their sign; no sign for zero."""
    if value is None:
        return "-"
    text = f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
    return "0.00" if text[1:] == "0.00" else text


def percent(value: float | None) -> str:
    """A share of a tensor's size: `0.40 %`, `3.1e-06`; empty if there is none."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    return f"{100 * value:.2g} %" if value >= 1e-4 else f"{value:.1e}"
