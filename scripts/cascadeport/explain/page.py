"""An explanation as one HTML file without scripts, and its waterfalls as SVG files."""

from __future__ import annotations

from html import escape
from pathlib import Path

from cascadeport.base.files import write_json, write_text
from cascadeport.base.text import printable
from cascadeport.explain import record as records
from cascadeport.explain.record import Explanation, Side, Tensor
from cascadeport.explain.sentences import percent, points
from cascadeport.explain.waterfall import bars, svg

_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--line:#d0d7de;--made:#b3261e;
--inherited:#7d4e00;--same:#116329}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--line:#3d444d;--made:#ff8a80;
--inherited:#e3b341;--same:#56d364}}
body{font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:60rem;margin:2rem auto;padding:0 1rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.875rem;width:100%}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.made,.inherited,.same{white-space:nowrap}.made{color:var(--made);font-weight:600}.inherited{color:var(--inherited)}.same{color:var(--same)}
.lead{font-size:1.125rem}code{font-size:.9em}svg{max-width:100%;height:auto}
@media print{body{max-width:none}}
"""
_SHOWN = 20
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def write(record: Explanation, folder: Path) -> list[Path]:
    """Writes explain-A-B.json, .html and, where there are shares, .svg.

    Args:
        folder: results/<model>-<data>.

    Returns:
        The files.
    """
    stem = records.name(record.first.name, record.second.name)
    files = [folder / f"{stem}.json", folder / f"{stem}.html"]
    write_json(files[0], record.model_dump(mode="json"))
    write_text(files[1], page(record))
    picture = folder / f"{stem}.svg"
    drawings = [drawing for side in _sides(record) if (drawing := svg(side))]
    if drawings:
        # The second row's changes, unless only the first one declares any.
        write_text(picture, drawings[-1] + "\n")
        files.append(picture)
    else:
        picture.unlink(missing_ok=True)
    return files


def _sides(record: Explanation) -> list[Side]:
    if record.shares is None:
        return []
    return [side for side in (record.shares.first, record.shares.second) if side.steps]


def page(record: Explanation) -> str:
    """The HTML page: one file, no script, nothing loaded from elsewhere."""
    title = f"Why {record.first.name} and {record.second.name} differ"
    lead = "".join(f"<p>{_code(sentence)}</p>" for sentence in record.sentences)
    notes = [*record.tensors.notes, *record.notes]
    body = [
        f"<h1>{_safe(title)}</h1>",
        f'<div class="lead">{lead}</div>',
        _facts(record),
        _shares(record),
        _anchors(record),
        _makers(record),
        "<h2>Notes</h2><ul>" + "".join(f"<li>{_safe(note)}</li>" for note in notes) + "</ul>"
        if notes
        else "",
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_safe(title)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in body if part)
        + f"\n<footer><p>Cascadeport {_safe(record.version)}</p></footer></main></body></html>\n"
    )


def _facts(record: Explanation) -> str:
    rows = []
    for row in (record.first, record.second):
        value = "" if row.map is None else f"{row.map:.4f}"
        cells = [row.name, row.title, row.status, value, row.runs_as]
        rows.append([(_safe(cell), "") for cell in cells])
    picture = record.picture
    return (
        f"<p>{_safe(record.model)} on {_safe(record.dataset)}; picture {picture.id} "
        f"({_safe(picture.file)}): {_safe(picture.why)}.</p>"
        + _table("Rows", ["row", "target", "status", "mAP", "its graph was run by"], rows)
    )


def _anchors(record: Explanation) -> str:
    if not record.tensors.anchors:
        return ""
    rows = [
        [
            (_safe(one.stage), ""),
            (_safe(one.what), ""),
            (f"<code>{_safe(one.value)}</code>", ""),
            (_safe(percent(one.difference)), "n"),
            (_safe(percent(one.noise)), "n"),
            (_verdict(one), ""),
            (_safe(percent(one.own)), "n"),
            (_safe(one.reason), ""),
        ]
        for one in record.tensors.anchors
        if one.what != "labels"
    ]
    head = ["stage", "tensor", "value", "difference", "noise", "verdict", "own error", ""]
    return (
        "<h2>Stage by stage</h2><p>Differences are shares of a tensor's root mean square; noise is "
        f"that of {_safe(record.first.name)} from itself. The own error is what an operator makes "
        "of equal inputs.</p>" + _table("Stage by stage", head, rows)
    )


def _verdict(one: Tensor) -> str:
    words = {"made": "made here", "same": "within noise"}
    return f'<span class="{one.verdict.split()[0]}">{words.get(one.verdict, one.verdict)}</span>'


def _makers(record: Explanation) -> str:
    makers = record.tensors.makers
    if not makers:
        return ""
    rows = [
        [
            (_safe(one.stage), ""),
            (f"<code>{_safe(one.value)}</code>", ""),
            (_safe(one.operator), ""),
            (_safe(percent(one.own)), "n"),
            (_safe(percent(one.own_noise)), "n"),
            (f"{one.times:,.0f}" if one.times else "", "n"),
            (_safe(one.reason), ""),
        ]
        for one in makers
    ]
    head = ["stage", "value", "operator", "own error", "noise", "times", ""]
    table = _table("Operators that make errors", head, rows)
    if len(rows) > _SHOWN:
        table = f"<details><summary>All {len(rows)} operators</summary>{table}</details>"
    return "<h2>Who makes errors from equal inputs</h2>" + table


def _shares(record: Explanation) -> str:
    if record.shares is None:
        return f"<h2>Shares of points</h2><p>{_safe(record.shares_reason)}</p>"
    parts = ["<h2>Shares of points</h2>"]
    for side in _sides(record):
        rows = [
            [
                (_safe(one.title), ""),
                ("" if one.map is None else f"{one.map:.4f}", "n"),
                ("" if one.points is None else points(one.points), "n"),
            ]
            for one in bars(side)
        ]
        parts += [
            f"<h3>{_safe(side.row)}</h3><p>Each change switched on alone, on the first "
            f"{record.shares.pictures} of {record.shares.of} pictures.</p>",
            svg(side),
            _table(f"Changes of {side.row}", ["change", "mAP", "points"], rows),
        ]
    return "\n".join(parts)


def _table(label: str, head: list[str], rows: list[list[tuple[str, str]]]) -> str:
    kinds = [kind for _, kind in rows[0]] if rows else [""] * len(head)
    first = "".join(
        f'<th scope="col"{_class(kind)}>{_safe(name)}</th>'
        for name, kind in zip(head, kinds, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f"<td{_class(kind)}>{cell}</td>" for cell, kind in row) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{_safe(label)}"><table>'
        "<thead><tr>"
        f"{first}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _safe(text: str) -> str:
    return escape(printable(text))


def _code(text: str) -> str:
    """A sentence whose names in backticks are code."""
    parts = _safe(text).split("`")
    return "".join(
        f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts)
    )
