"""The frontier as a picture: accuracy against speed, every point with its interval.

Drawn by hand as SVG, like the waterfall of an explanation, for the same reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from cascadeport.base.text import printable
from cascadeport.config.gate import points as in_words
from cascadeport.results.numbers import number, points
from cascadeport.tune import scale
from cascadeport.tune.record import Frontier, PointRecord
from cascadeport.tune.scale import Range

_LEFT, _TOP, _CHART, _HEIGHT = 74, 64, 500, 360
_STRIP = 84
_GAP, _ROW = 30, 18
# The columns of the list beside the chart: number, recipe, difference, speed against the
# reference's, pictures per second.
_COLUMNS = (0, 26, 322, 366, 420)
_LIST = 430
_LETTERS, _BOLD_LETTERS = 39, 33
_STYLE = (
    "<style>text{fill:#1b1f24}.minor{fill:#57606a}.axis{stroke:#8c959f;fill:none}"
    ".grid{stroke:#d8dee4}.within{--c:#1a7f37}.beyond{--c:#b3261e}.undecided{--c:#8250df}"
    ".reference{--c:#1b1f24}.failed{--c:#57606a}.mark{stroke:var(--c);stroke-width:1.6;fill:var(--c)}"
    ".hollow{fill:var(--paper)}.bar{stroke:var(--c);stroke-width:1.3;opacity:.55}"
    ".pace{stroke:var(--c);stroke-width:1;opacity:.35}.key{fill:var(--c);font-weight:600}.ring{stroke:var(--c);fill:none;stroke-width:1.8}"
    ".front{stroke:#0969da;stroke-width:1.6;fill:none;opacity:.75}"
    ".budget{stroke:#b3261e;stroke-dasharray:5 4}.lost{fill:#b3261e;opacity:.05}"
    ".said{fill:#b3261e}.link{stroke:#8c959f;stroke-width:.7}.ground{fill:var(--paper)}"
    "svg{--paper:#fff}@media(prefers-color-scheme:dark){svg{--paper:#0d1117}text{fill:#e6edf3}"
    ".minor{fill:#9198a1}.grid{stroke:#262c34}.within{--c:#56d364}.beyond{--c:#ff8a80}"
    ".undecided{--c:#be8fff}.failed{--c:#9198a1}.reference{--c:#e6edf3}.budget{stroke:#ff8a80}.lost{fill:#ff8a80}"
    ".said{fill:#ff8a80}.front{stroke:#58a6ff}}</style>"
)


def svg(found: Frontier) -> str:
    """The frontier as an SVG picture."""
    return "\n".join(_Drawing(found).parts()) + "\n"


class _Drawing:
    """One drawing: a chart at the left, and a list of its points at the right."""

    def __init__(self, found: Frontier) -> None:
        self._found = found
        self._shown = scale.drawn(found)
        self._y = scale.differences(found, self._shown)
        self._x = scale.speeds(self._shown)
        simulated = any(scale.pace(one) is None for one in self._shown)
        self._start = _LEFT + (_STRIP if simulated else 0)
        self._end = self._start + (_CHART if self._x else 40)
        self._taken: list[tuple[float, float, float, float]] = []

    def parts(self) -> Iterator[str]:
        """The picture's lines."""
        width = self._end + _GAP + _LIST + 16
        height = max(_TOP + _HEIGHT + 74, _TOP + 40 + _ROW * len(self._shown) + 24)
        title = f"{self._found.model} on {self._found.data}: accuracy against speed"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-label="{_safe(title)}" '
            'font-family="system-ui, sans-serif" font-size="12">'
        )
        yield _STYLE
        yield f"<title>{_safe(title)}</title>"
        yield f'<rect class="ground" width="{width}" height="{height}"/>'
        yield f'<text x="16" y="26" font-size="16" font-weight="600">{_safe(title)}</text>'
        yield from self._subtitle()
        yield from self._axes()
        yield from self._front()
        for one in self._shown:
            yield from self._interval(one)
        for one in self._shown:
            yield from self._marker(one)
        for place, one in enumerate(self._shown, start=1):
            yield from self._key(place, one)
        yield from self._list()
        yield "</svg>"

    def _subtitle(self) -> Iterator[str]:
        reference = self._found.reference
        text = (
            f"reference: {self._found.target}, mAP {number(reference.map, 4)} on "
            f"{reference.pictures} pictures; bars are {self._found.level:.0%} intervals"
        )
        yield f'<text class="minor" x="16" y="45">{_safe(text)}</text>'

    # --- positions

    def _at_y(self, delta: float) -> float:
        """The position of a difference of mAP."""
        return _TOP + _HEIGHT * (1 - self._y.share(100 * delta))

    def _at_x(self, one: PointRecord) -> float:
        pace = scale.pace(one)
        if pace is None or self._x is None:
            simulated = [other for other in self._shown if scale.pace(other) is None]
            share = (simulated.index(one) + 1) / (len(simulated) + 1)
            return _LEFT + share * _STRIP
        return self._speed(pace)

    def _speed(self, pace: float) -> float:
        assert self._x is not None
        return self._start + _CHART * self._x.share(pace)

    def _place(self, one: PointRecord) -> tuple[float, float]:
        assert one.delta is not None
        return self._at_x(one), self._at_y(one.delta)

    # --- what is drawn

    def _axes(self) -> Iterator[str]:
        bottom = _TOP + _HEIGHT
        budget = self._at_y(-self._found.budget / 100)
        yield (
            f'<rect class="lost" x="{_LEFT}" y="{budget:.1f}" width="{self._end - _LEFT}" '
            f'height="{bottom - budget:.1f}"/>'
        )
        reference = self._found.reference.map
        for tick in self._y.ticks:
            y = self._at_y(tick / 100)
            yield f'<line class="grid" x1="{_LEFT}" x2="{self._end}" y1="{y:.1f}" y2="{y:.1f}"/>'
            text = points(tick / 100)
            yield (
                f'<text class="minor" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">'
                f"{text}</text>"
            )
        yield from self._speed_axis(self._x, bottom)
        if self._start > _LEFT:
            middle = _LEFT + _STRIP / 2
            yield (
                f'<line class="axis" x1="{self._start}" x2="{self._start}" y1="{_TOP}" '
                f'y2="{bottom}"/>'
                f'<text class="minor" x="{middle}" y="{bottom + 18}" text-anchor="middle">'
                "simulated:</text>"
                f'<text class="minor" x="{middle}" y="{bottom + 33}" text-anchor="middle">'
                "no speed</text>"
            )
        said = f"budget: {in_words(self._found.budget)}"
        left = self._free_of_points(6.2 * len(said), budget)
        yield (
            f'<line class="budget" x1="{_LEFT}" x2="{self._end}" y1="{budget:.1f}" '
            f'y2="{budget:.1f}"/>'
            f'<text class="said" x="{left}" y="{budget + 14:.1f}" font-size="11">{said}</text>'
        )
        self._taken.append((left, budget + 3, left + 6.2 * len(said), budget + 16))
        yield f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{self._end}"/>'
        middle = _TOP + _HEIGHT / 2
        against = "" if reference is None else f" of {reference:.3f}"
        yield (
            f'<text class="minor" transform="translate(18 {middle}) rotate(-90)" '
            f'text-anchor="middle">points of mAP from the reference{against}</text>'
        )

    def _free_of_points(self, wide: float, top: float) -> float:
        """Where a text below a line covers no point and no interval, if there is such a place."""
        for start in range(self._start + 6, int(self._end - wide), 12):
            if not any(
                start - 8 < self._at_x(one) < start + wide + 8
                and self._at_y(one.difference.high if one.difference else one.delta or 0) < top + 20
                and self._at_y(one.difference.low if one.difference else one.delta or 0) > top - 6
                for one in self._shown
            ):
                return start
        return self._start + 6

    def _speed_axis(self, x: Range | None, bottom: float) -> Iterator[str]:
        if x is None:
            return
        for tick in x.ticks:
            at = self._speed(tick)
            yield (
                f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
                f'<text class="minor" x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">'
                f"{tick:g}</text>"
            )
        middle = (self._start + self._end) / 2
        yield (
            f'<text class="minor" x="{middle}" y="{bottom + 40}" text-anchor="middle">'
            f"times the reference's {number(self._found.reference.ips, 2)} pictures per second on "
            "the device</text>"
        )

    def _front(self) -> Iterator[str]:
        """The frontier: what accuracy there is at most, at this speed or a higher one."""
        corners = [self._place(one) for one in self._shown if one.on_frontier][::-1]
        if not corners:
            return
        path = f"M{self._start} {corners[0][1]:.1f}"
        for place, (x, _) in enumerate(corners):
            path += f"H{x:.1f}"
            if place + 1 < len(corners):
                path += f"V{corners[place + 1][1]:.1f}"
        yield f'<path class="front" d="{path}"/>'

    def _interval(self, one: PointRecord) -> Iterator[str]:
        span, at = one.difference, self._at_x(one)
        speed = one.speed
        if one.status != "reference" and speed and speed.low is not None and speed.high is not None:
            y = self._at_y(one.delta or 0.0)
            yield (
                f'<path class="{one.status} pace" fill="none" '
                f'd="M{self._speed(speed.low):.1f} {y:.1f}H{self._speed(speed.high):.1f}"/>'
            )
        if span is None:
            return
        low, high = self._at_y(span.low), self._at_y(span.high)
        if low - high < 1:
            return
        yield (
            f'<path class="{one.status} bar" fill="none" d="M{at - 3.5:.1f} {low:.1f}h7m-3.5 0'
            f'V{high:.1f}m-3.5 0h7"/>'
        )

    def _marker(self, one: PointRecord) -> Iterator[str]:
        x, y = self._place(one)
        self._taken.append((x - 6, y - 6, x + 6, y + 6))
        kind = (
            f'class="{one.status} mark{"" if one.status in ("within", "reference") else " hollow"}"'
        )
        if self._is_chosen(one):
            yield f'<circle class="{one.status} ring" cx="{x:.1f}" cy="{y:.1f}" r="9"/>'
        if 100 * (one.delta or 0.0) < self._y.low:
            # Below the chart: how far is in the list.
            yield f'<path {kind} d="M{x - 5:.1f} {y - 9:.1f}h10l-5 9z"/>'
        elif one.status == "reference":
            yield f'<rect {kind} x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
        elif one.status == "undecided":
            yield f'<path {kind} d="M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6z"/>'
        else:
            yield f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'

    def _is_chosen(self, one: PointRecord) -> bool:
        chosen = self._found.chosen
        return chosen is not None and self._found.points[chosen.point] is one

    def _key(self, place: int, one: PointRecord) -> Iterator[str]:
        """A point's number, beside it where there is room."""
        x, y = self._place(one)
        wide, high = 7.0 * len(str(place)), 11.0
        for reach in (11, 19, 28, 38, 50, 64):
            for across, up in (
                (1, -1),
                (-1, -1),
                (1, 1),
                (-1, 1),
                (0, -1),
                (0, 1),
                (1, 0),
                (-1, 0),
            ):
                left = x + across * reach - wide / 2
                top = y + up * reach - high / 2
                box = (left, top, left + wide, top + high)
                if self._is_free(box):
                    self._taken.append(box)
                    if reach > 19:
                        yield (
                            f'<line class="link" x1="{x:.1f}" y1="{y:.1f}" '
                            f'x2="{left + wide / 2:.1f}" y2="{top + high / 2:.1f}"/>'
                        )
                    yield (
                        f'<text class="{one.status} key" x="{left:.1f}" y="{top + high - 1:.1f}" '
                        f'font-size="11">{place}</text>'
                    )
                    return

    def _is_free(self, box: tuple[float, float, float, float]) -> bool:
        left, top, right, bottom = box
        if left < _LEFT + 2 or right > self._end + 14 or top < _TOP - 12 or bottom > _TOP + _HEIGHT:
            return False
        return not any(
            left < other[2] + 1
            and other[0] < right + 1
            and top < other[3] + 1
            and other[1] < bottom + 1
            for other in self._taken
        )

    def _list(self) -> Iterator[str]:
        """The points by their numbers."""
        left = self._end + _GAP
        columns = [left + offset for offset in _COLUMNS]
        head = ("", "recipe", "points", "times", "img/s")
        yield _line(columns, head, _TOP + 4, "minor", "")
        for place, one in enumerate(self._shown, start=1):
            title = printable(one.title)
            bold = ' font-weight="600"' if self._is_chosen(one) else ""
            most = _BOLD_LETTERS if bold else _LETTERS
            title = title if len(title) <= most else title[: most - 1] + "…"
            cells = (
                str(place),
                title,
                points(one.delta),
                number(scale.pace(one), 2),
                number(one.ips, 2),
            )
            yield _line(columns, cells, _TOP + 4 + _ROW * place, f"{one.status}", bold)
        top = _TOP + 4 + _ROW * (len(self._shown) + 1) + 10
        at = left + 8.0
        for status, word in _legend(self._shown):
            shape = "ring" if status == "chosen" else "mark"
            kind = "within" if status == "chosen" else status
            yield (
                f'<circle class="{kind} {shape}" cx="{at}" cy="{top - 4}" r="4"/>'
                f'<text class="minor" x="{at + 9}" y="{top}" font-size="11">{word}</text>'
            )
            at += 24 + 6.2 * len(word)


def _line(columns: Sequence[float], cells: Sequence[str], y: float, status: str, more: str) -> str:
    place, title, *numbers = cells
    first, second, *others = columns
    written = "".join(
        f'<text x="{x}" y="{y}" text-anchor="end"{more}>{text}</text>'
        for x, text in zip(others, numbers, strict=True)
    )
    return (
        f'<text class="{status} key" x="{first}" y="{y}" font-size="11">{place}</text>'
        f'<text x="{second}" y="{y}" font-size="12"{more}>{_safe(title)}</text>{written}'
    )


def _legend(shown: Sequence[PointRecord]) -> list[tuple[str, str]]:
    words = {
        "reference": "reference",
        "within": "within",
        "undecided": "undecided",
        "beyond": "beyond",
        "failed": "failed later",
        "chosen": "chosen",
    }
    found = {one.status for one in shown} | {"chosen"}
    return [(status, word) for status, word in words.items() if status in found]


def _safe(text: str) -> str:
    return escape(printable(text))
