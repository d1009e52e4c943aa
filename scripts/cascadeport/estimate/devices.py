"""Which devices: `310P3=8,T4=2`."""

from __future__ import annotations

import re

from cascadeport.base.errors import CascadeportError

_ONE = re.compile(r"(?P<name>[^=,\s]+)=(?P<count>[1-9]\d{0,5})")
_PICTURES = re.compile(r"[1-9]\d{0,11}")
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)\s*([kKMGT]?)B?", re.ASCII)
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_EXAMPLE = "For example --devices 310P3=8, or --devices 310P3=8,T4=2."


def parse(text: str) -> dict[str, int]:
    """How many of each device, by the name of a row or a target.

    Raises:
        CascadeportError: It cannot be read, or names one twice.
    """
    found: dict[str, int] = {}
    for part in text.split(","):
        match = _ONE.fullmatch(part.strip())
        if match is None or match["name"] in found:
            raise CascadeportError(
                f"'{part.strip()}' is no number of devices."
                if match is None
                else f"'{match['name']}' is there twice.",
                where=f"--devices {text}",
                next=_EXAMPLE,
            )
        found[match["name"]] = int(match["count"])
    return found


def size(text: str, option: str) -> float:
    """A number of bytes, in units that disks are sold by: `160k`, `1.5M`, `2G`.

    Raises:
        CascadeportError: It is none.
    """
    match = _SIZE.fullmatch(text.strip())
    found = float(match[1]) * _UNITS[match[2].lower()] if match else 0.0
    if not found:
        raise CascadeportError(
            f"'{text}' is no size.", where=option, next=f"For example {option} 160k."
        )
    return found


def pictures(text: str | None) -> int:
    """How many pictures; with devices, `--pictures` is a number.

    Raises:
        CascadeportError: It is none.
    """
    digits = (text or "").replace("_", "")
    if _PICTURES.fullmatch(digits) is None:
        raise CascadeportError(
            "An estimate needs the number of pictures."
            if text is None
            else f"'{text}' is no number of pictures.",
            where="--pictures" + (f" {text}" if text else ""),
            next="For example --pictures 1000000.",
        )
    return int(digits)
