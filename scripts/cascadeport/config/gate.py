"""The gate: what is good enough, declared on a card or a target's row before anything runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from cascadeport.config.schema import Number, Strict

_Points = Annotated[Number, Field(gt=0, le=100, allow_inf_nan=False)]
_Rate = Annotated[Number, Field(gt=0, le=1e9, allow_inf_nan=False)]


def points(limit: float) -> str:
    """A number of points in words."""
    return f"{limit:g} point" if limit == 1 else f"{limit:g} points"


class Gate(Strict):
    """What a result must reach. docs/evaluation.md says how it is judged.

    Args:
        points: How many points (hundredths of mAP) it may be below the reference.
        category_points: The same for the AP of a category.
        categories: What a category that is further below does: the result fails, or has a warning.
        reference: `published`: the card's published accuracy where it is of the same pictures, else
            the first measured row; `measured`: the first measured row.
        device_ips: The fewest pictures per second on the device.
        end_to_end_ips: The fewest pictures per second from file to boxes.
    """

    points: _Points = 1.0
    category_points: _Points = 1.0
    categories: Literal["warn", "fail"] = "warn"
    reference: Literal["published", "measured"] = "published"
    device_ips: _Rate | None = None
    end_to_end_ips: _Rate | None = None

    @property
    def described(self) -> str:
        """What it asks for, in a line."""
        measured = "the first measured row"
        reference = measured
        if self.reference == "published":
            reference = f"the published accuracy, or without one {measured}"
        parts = [
            f"mAP at most {points(self.points)} below {reference}",
            f"of a category {points(self.category_points)} ({self.categories})",
            f"at least {self.device_ips:g} img/s on the device" if self.device_ips else "",
            f"at least {self.end_to_end_ips:g} img/s end to end" if self.end_to_end_ips else "",
        ]
        return "; ".join(filter(None, parts))

    def overridden(self, other: Gate | None) -> Gate:
        """This gate, but what `other` says."""
        said = {key: getattr(other, key) for key in other.model_fields_set} if other else {}
        return self.model_copy(update=said)
