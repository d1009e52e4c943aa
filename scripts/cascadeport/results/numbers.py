"""Numbers as tables and sentences say them."""

from __future__ import annotations

NONE = "–"


def number(value: float | None, digits: int) -> str:
    """A number for a table, or a dash."""
    return NONE if value is None else f"{value:.{digits}f}"


def brief(value: float | None) -> str:
    """A number of any magnitude with three digits, or a dash."""
    if value is None:
        return NONE
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def points(delta: float | None) -> str:
    """A difference of mAP in points (hundredths) with its sign, or a dash."""
    if delta is None:
        return NONE
    text = f"{abs(delta) * 100:.2f}"
    if float(text) == 0:
        return text
    return f"+{text}" if delta > 0 else f"−{text}"
