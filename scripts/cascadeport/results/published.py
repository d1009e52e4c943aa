"""Published figures of a model, which the comparison shows beside the results."""

from __future__ import annotations

from dataclasses import dataclass

from cascadeport.core.context import Context
from cascadeport.core.plan import Plan


@dataclass(frozen=True)
class PublishedFigures:
    """Figures from elsewhere.

    Args:
        target: The target they are for; "reference" for the accuracy of the model itself.
        title: Their name in tables.
        source: Where they were published.
        map: mAP, from 0 to 1.
        chip_ips: Pictures per second of one chip.
        device_ips: Pictures per second of the device with all of its chips.
        comparable: Whether the accuracy is for the same data set, so that a difference is
            meaningful.
    """

    target: str
    title: str
    source: str
    map: float | None = None
    chip_ips: float | None = None
    device_ips: float | None = None
    comparable: bool = False


def figures(plan: Plan, context: Context) -> list[PublishedFigures]:
    """The published accuracy on the model card, and the published figures of the targets.

    They are for all of COCO val2017, so differences are shown only for runs on all of it.
    """
    card = plan.card
    comparable = plan.data_name == "coco" and context.options.limit is None
    rows = []
    if card.reference is not None:
        rows.append(
            PublishedFigures(
                target="reference",
                title=f"{card.title}, published",
                source=card.reference.source,
                map=card.reference.map,
                comparable=comparable,
            )
        )
    for name, target in context.targets.items():
        published = target.published
        if published is not None and published.model == card.stem:
            rows.append(
                PublishedFigures(
                    target=name,
                    title=f"{target.title}, published",
                    source=published.source,
                    # Throughput is comparable with that of random weights, accuracy is not.
                    map=published.map if card.seed is None else None,
                    chip_ips=published.chip_ips,
                    device_ips=published.device_ips,
                    comparable=comparable,
                )
            )
    return rows
