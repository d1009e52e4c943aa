"""Markdown for a pull request: the verdict first, the table, what changed, and the notes folded."""

from __future__ import annotations

from cascadeport.results import columns, tables
from cascadeport.results.comparison import Comparison
from cascadeport.results.gate import overall
from cascadeport.results.history.against import Against


def document(table: Comparison, against: Against | None = None) -> str:
    """The text; equal comparisons give equal bytes.

    Args:
        table: The comparison.
        against: What changed since an earlier run.
    """
    own = [row for row in table.rows if row.status != "published"]
    verdict = overall(own)
    word = verdict.upper() if verdict else "No verdict"
    if against is not None:
        word = "WORSE" if against.judged.worse else f"No worse than {against.name}"
    lines = [f"### {tables.plain(f'{word}: {columns.title(table)}')}", ""]
    lines += tables.markdown_table(table)
    if against is not None:
        lines += ["", f"Since {tables.plain(against.name)}:", ""]
        lines += [f"- **{mark}** {tables.plain(text)}" for mark, text in against.lines()]
    lines += ["", "<details><summary>Notes</summary>", *tables.markdown_notes(table), ""]
    return "\n".join([*lines, "</details>"]) + "\n"
