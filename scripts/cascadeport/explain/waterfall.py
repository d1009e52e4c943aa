"""The waterfall: from a row's mAP without any change to its own, a step for each change.

Drawn by hand as SVG: a dozen rectangles that take the page's colours and stay sharp in print, in a
file of a few kilobytes, for which a plotting library would be the largest dependency there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from cascadeport.base.text import printable
from cascadeport.explain.record import Side
from cascadeport.explain.sentences import points

_ROW, _BAR = 34, 18
_LABELS, _CHART, _NUMBERS = 320, 360, 90
_LETTERS = 44
#: Points that the chart spans at least.
_LEAST = 0.2


@dataclass(frozen=True)
class Bar:
    """A bar of the waterfall.

    Attributes:
        title: What it stands for.
        map: The mAP that it stands for, where it was measured.
        points: What it adds; None for a total.
        start: Where it starts, as a share of the chart.
        end: Where it ends.
        is_total: Whether it stands on the axis.
    """

    title: str
    map: float | None
    points: float | None
    start: float
    end: float
    is_total: bool = False


def bars(side: Side) -> list[Bar]:
    """The bars of one row's changes; none if there is no mAP."""
    if side.base is None or side.together is None:
        return []
    entries: list[tuple[str, float | None, float | None]] = [
        (f"{side.row} without these changes", side.base, None)
    ]
    entries += [(step.title, step.map, step.points) for step in side.steps]
    if len(side.steps) > 1:
        entries.append(("interactions: together, less the sum of each alone", None, side.remainder))
    entries.append(("all changes together", side.together, None))
    if side.map is not None and side.elsewhere is not None:
        entries.append(("explained by none of them", None, side.elsewhere))
        entries.append((f"{side.row} as it ran", side.map, None))
    level = 100 * side.base
    levels: list[tuple[float, float]] = []
    for _, value, step in entries:
        if step is None:
            level = 100 * (value or 0.0)
            levels.append((level, level))
        else:
            levels.append((level, level + step))
            level += step
    low = min(min(pair) for pair in levels)
    high = max(max(pair) for pair in levels)
    # Totals start at the chart's edge, not at zero: the steps are hundredths of them.
    # Less than a tenth of a point is drawn as little.
    margin = max(0.15 * (high - low), (_LEAST - (high - low)) / 2)
    low, high = low - margin, high + margin

    def share(value: float) -> float:
        return (value - low) / (high - low)

    return [
        Bar(
            title=title,
            map=value,
            points=step,
            start=0.0 if step is None else share(start),
            end=share(end),
            is_total=step is None,
        )
        for (title, value, step), (start, end) in zip(entries, levels, strict=True)
    ]


def svg(side: Side) -> str:
    """The waterfall as an SVG picture; empty if there is no mAP."""
    found = bars(side)
    if not found:
        return ""
    width, height = _LABELS + _CHART + _NUMBERS, _ROW * len(found) + 40
    title = f"Waterfall: what each change of {side.row} costs in points of mAP"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{_safe(title)}" font-family="system-ui, sans-serif" font-size="13">',
        "<style>text{fill:#1b1f24}.minor{fill:#57606a}.total{fill:#57606a}.loss{fill:#b3261e}"
        ".gain{fill:#1a7f37}.link{stroke:#8c959f;stroke-dasharray:2 3}"
        "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.minor,.total{fill:#9198a1}"
        ".loss{fill:#ff8a80}.gain{fill:#56d364}}</style>",
        f"<title>{_safe(title)}</title>",
    ]
    for number, one in enumerate(found):
        top = 8 + number * _ROW
        left, right = sorted((_LABELS + one.start * _CHART, _LABELS + one.end * _CHART))
        kind = "total" if one.is_total else "loss" if (one.points or 0) < 0 else "gain"
        label = printable(one.title.split(":")[0] if len(one.title) > _LETTERS else one.title)
        label = label if len(label) <= _LETTERS else label[: _LETTERS - 1] + "…"
        number_text = (
            f"{one.map:.4f}" if one.is_total and one.map is not None else points(one.points)
        )
        parts += [
            f'<text x="{_LABELS - 10}" y="{top + 14}" text-anchor="end">{_safe(label)}'
            f"<title>{_safe(one.title)}</title></text>",
            f'<rect class="{kind}" x="{left:.1f}" y="{top}" width="{max(right - left, 1.5):.1f}" '
            f'height="{_BAR}" rx="2"/>',
            f'<text x="{width - 8}" y="{top + 14}" text-anchor="end">{number_text}</text>',
        ]
        if number + 1 < len(found):
            at = _LABELS + one.end * _CHART
            parts.append(
                f'<line class="link" x1="{at:.1f}" x2="{at:.1f}" y1="{top + _BAR}" '
                f'y2="{top + _ROW}"/>'
            )
    parts.append(
        f'<text class="minor" x="{_LABELS}" y="{height - 8}" font-size="11">points of mAP; '
        "grey bars are totals and do not start at zero</text></svg>"
    )
    return "\n".join(parts)


def _safe(text: str) -> str:
    return escape(printable(text))
