"""Figures from elsewhere, on a model card. They are shown as published, never as measured."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from cascadeport.config.schema import Line, Number, Sha256, Strict

_Accuracy = Annotated[Number, Field(ge=0, le=1)]
_Rate = Annotated[Number, Field(gt=0, allow_inf_nan=False)]


class Reference(Strict):
    """The published accuracy of the model, which results are held against.

    Args:
        map: mAP, from 0 to 1.
        source: Where it was published.
        data: The data set that it is for; the card's own, else COCO, unless given.
        detections: A file with the detections that it is the accuracy of, in COCO's results format,
            from the card's folder: results are then compared with it picture by picture.
        sha256: That file's.
    """

    map: _Accuracy
    source: Line
    data: Line | None = None
    detections: str | None = None
    sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _of_a_file(self) -> Reference:
        if self.sha256 and not self.detections:
            raise ValueError("'sha256' is that of 'detections', which is not given")
        return self


class Published(Strict):
    """Figures that were published of the model on one device.

    Args:
        target: The target of targets.toml that they are for; none: no target of this project. Of
            several publications about a target the first is what measured speeds are divided by.
        title: What tables call it.
        date: When it was published, as the source says.
        source: Where.
        data: The data set that the accuracy is for; the card's own, else COCO, unless given.
        map: mAP, from 0 to 1.
        chip_ips: Pictures per second of one chip.
        device_ips: Pictures per second of the device with all of its chips.
    """

    target: Line | None = None
    title: Line
    date: Annotated[Line, Field(pattern=r"^[0-9]{4}(-[0-9]{2}){0,2}$")] | None = None
    source: Line
    data: Line | None = None
    map: _Accuracy | None = None
    chip_ips: _Rate | None = None
    device_ips: _Rate | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Published:
        if self.map is None and self.chip_ips is None and self.device_ips is None:
            raise ValueError("it has none of 'map', 'chip_ips' and 'device_ips'")
        return self
