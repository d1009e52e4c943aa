"""Sizes as people write them: `650M`, `4G`, `4.3G`."""

from __future__ import annotations

import re

from cascadeport.base.errors import CascadeportError

_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)\s*([kMGT]?)B?", re.ASCII)
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_LEAST = 10**6
_MOST_PARTS = 1000


def parse(text: str) -> int:
    """A size in bytes. Units are those that disks are sold by: 1 G is 1,000,000,000.

    Raises:
        CascadeportError: It is no size, or too small for the part of an archive.
    """
    match = _SIZE.fullmatch(text.strip())
    size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
    if size < _LEAST:
        raise CascadeportError(
            f"'{text}' is no size of a part.",
            next="For example 4G for a stick, 4.7G for a DVD; at least 1M.",
        )
    return size
