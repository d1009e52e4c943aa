"""Published figures of a model, which the comparison shows beside the results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cascadeport.core.context import Context
from cascadeport.core.plan import Plan

REFERENCE = "reference"
"""In place of a target's name: the published accuracy of the model itself."""


@dataclass(frozen=True)
class PublishedFigures:
    """Figures from elsewhere.

    Args:
        target: The target they are for; "reference" for the accuracy of the model itself, empty
            for a device that is no target of this project.
        title: Their name in tables.
        source: Where they were published.
        map: mAP, from 0 to 1.
        chip_ips: Pictures per second of one chip.
        device_ips: Pictures per second of the device with all of its chips.
        comparable: Whether the accuracy is for the same pictures, so that a difference is
            meaningful.
        detections: The detections that the accuracy is of, where they were published too and their
            pictures are among them.
    """

    target: str
    title: str
    source: str
    map: float | None = None
    chip_ips: float | None = None
    device_ips: float | None = None
    comparable: bool = False
    detections: Path | None = None


def figures(plan: Plan, context: Context) -> list[PublishedFigures]:
    """The published accuracy on the model card, and the figures published of its devices.

    Their accuracies are for all of a data set, so differences are shown only for runs on all of
    it.
    """
    card = plan.card
    data = plan.data_name
    is_whole = context.options.limit is None and context.options.part is None
    rows = []
    if card.reference is not None:
        is_of = card.is_of(card.reference, data)
        listed = card.reference.detections
        rows.append(
            PublishedFigures(
                target=REFERENCE,
                title="published accuracy",
                source=card.reference.source,
                map=card.reference.map,
                comparable=is_of and is_whole,
                detections=card.file(listed) if is_of and listed else None,
            )
        )
    for one in card.published:
        when = f", published {one.date}" if one.date else ", published"
        rows.append(
            PublishedFigures(
                target=one.target or "",
                title=f"{one.title}{when}",
                source=one.source,
                # Throughput is comparable with that of random weights, accuracy is not.
                map=one.map if card.seed is None else None,
                chip_ips=one.chip_ips,
                device_ips=one.device_ips,
                comparable=card.is_of(one, data) and is_whole,
            )
        )
    return rows
