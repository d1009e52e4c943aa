"""A row of targets.toml of the Ascend backend."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from cascadeport.config.schema import as_tuple
from cascadeport.config.targets import Target


class AscendTarget(Target):
    """A target on Ascend chips.

    Args:
        soc: The chip, by atc's name for it.
        lowering: How the network is rewritten for the chip: in CANN's own operators, or without
            them (docs/lowering.md).
        gears: Whether several shapes are gears of one om file, whose weights are in memory once
            (docs/shapes.md); else there is an om file for each shape.
        devices: The chips that share the pictures, by device number.
        precision_mode: An option of atc, like the keys below; unset: atc's default.
    """

    soc: str = Field(pattern=r"^Ascend\d[0-9A-Z]*$")
    lowering: Literal["ascend", "ascend-standard"] = "ascend"
    gears: bool = True
    devices: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(as_tuple)] = (0,)
    precision_mode: str | None = None
    op_select_implmode: str | None = None
    optypelist_for_implmode: str | None = None
    modify_mixlist: str | None = None

    @field_validator("devices")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value:
            raise ValueError("a card has at least one chip")
        if len(set(value)) != len(value):
            raise ValueError("a chip is named twice")
        return value

    @property
    def atc_flags(self) -> dict[str, str]:
        """The options that the row passes to atc."""
        keys = (
            "precision_mode",
            "op_select_implmode",
            "optypelist_for_implmode",
            "modify_mixlist",
        )
        return {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
